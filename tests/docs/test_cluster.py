# SPDX-License-Identifier: Apache-2.0
"""Launch files of docs/cluster: Accelerate takes them, the SLURM script starts both machines."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import docs_pages as pages
import pytest

FOLDER = pages.ROOT / "docs" / "cluster"
PROCESSES = {"one_gpu": 1, "eight_gpus": 8, "two_machines": 16}


def launch_arguments(*arguments: str) -> Any:
    """What ``accelerate launch`` makes of its command line and the config file that it names."""
    from accelerate.commands import launch

    parsed = launch.launch_command_parser().parse_args([*arguments])
    return launch._validate_launch_command(parsed)[0]


@pytest.mark.parametrize("name", PROCESSES)
def test_accelerate_takes_the_config(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    # As on a machine with GPUs: without one Accelerate falls back to a single process.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    path = FOLDER / f"{name}.yaml"
    found = launch_arguments("--config_file", str(path), "recipes/pretrain_adapter.py")
    assert found.num_processes == PROCESSES[name]
    assert bool(found.multi_gpu) == (PROCESSES[name] > 1)
    assert found.num_machines == (2 if name == "two_machines" else 1)
    assert found.mixed_precision == "no"
    assert f"docs/cluster/{name}.yaml" in path.read_text(encoding="utf-8")


def test_every_config_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(PROCESSES)


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_slurm_script_starts_both_machines(tmp_path: Path) -> None:
    """The script is run, with programs in place of SLURM's that do as these do on two machines."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    write_program(programs / "scontrol", "printf 'gpu01\\ngpu02\\n'")
    starts = 'while [[ "$1" == --* ]]; do shift; done\nfor n in 0 1; do SLURM_NODEID=$n "$@"; done'
    write_program(programs / "srun", starts)
    words = "import json, sys; print(json.dumps(sys.argv[1:]))"
    write_program(programs / "accelerate", f'python3 -c "{words}" "$@" >> started.jsonl')
    path = f"{programs}:{os.environ['PATH']}"
    slurm = {"SLURM_JOB_NODELIST": "gpu[01-02]", "SLURM_NNODES": "2"}
    script = FOLDER / "pretrain.slurm"
    ran = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, env={**os.environ, **slurm, "PATH": path}, check=True
    )
    assert ran.returncode == 0
    lines = (tmp_path / "started.jsonl").read_text(encoding="utf-8").splitlines()
    started = [json.loads(line) for line in lines]
    assert len(started) == 2
    for rank, words_of_one in enumerate(started):
        assert words_of_one[0] == "launch"
        here = [word.replace("docs/", f"{pages.ROOT}/docs/", 1) for word in words_of_one[1:]]
        from accelerate.commands import launch

        found = launch.launch_command_parser().parse_args(here)
        assert (found.num_machines, found.num_processes, found.machine_rank) == (2, 16, rank)
        assert found.main_process_ip == "gpu01"
        assert Path(found.config_file).is_file()
        assert found.training_script == "recipes/pretrain_adapter.py"
        parse_recipe(found.training_script_args)


def parse_recipe(arguments: list[str]) -> None:
    from voxadapt.recipes.pretraining.options import PretrainOptions
    from voxadapt.recipes.running.command_line import parse

    options = parse(PretrainOptions, arguments, prog="pretrain_adapter.py")
    assert options.resume
    assert options.features == "/shared/features"
