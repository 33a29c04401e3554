# SPDX-License-Identifier: Apache-2.0
"""A killed pretraining, resumed, is bit for bit the run that was not killed."""

import random
import runpy
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.recipes.running.checkpoints import load_checkpoint

SCRIPT = Path(__file__).with_name("killed_pretraining.py")
MOMENTS = [
    "in a checkpoint's write",
    "before a checkpoint's rename",
    "after a checkpoint's rename",
    "in a fit",
    "after a fit",
    "before the teacher follows",
    "before the centers follow",
    "after a step",
    "before an epoch's checkpoint",
    "after an epoch's checkpoint",
    "before the report",
    "in the adapter's folder",
    "before the adapter's rename",
    "after the adapter's rename",
]
ADAPTER_FILES = {"README.md", "codebook.safetensors", "config.json", "model.safetensors"}
Run = Callable[..., Any]


@pytest.fixture
def options(pretrain_options: list[str]) -> list[str]:
    """A checkpoint at every step, 3 fits, 2 epochs."""
    fits = ["--objectives.local_attributes=0.5", "--codebook.refit_at=[0.0, 0.34, 0.67]"]
    return [*pretrain_options, *fits, "--checkpoint-steps=1"]


@pytest.fixture
def whole(run_cli: Run, options: list[str]) -> Path:
    """The run that was not killed."""
    ran = run_cli("pretrain_adapter", *options, "--out=whole")
    assert ran.code == 0, ran.err
    return Path("whole")


def outcome(out: Path) -> dict[str, bytes]:
    names = ("adapter/model.safetensors", "adapter/codebook.safetensors", "log.json")
    return {name: (out / name).read_bytes() for name in names}


def assert_same_run(out: Path, whole: Path) -> None:
    """The same adapter, log and checkpoint to the last bit, and nothing left lying about."""
    assert outcome(out) == outcome(whole)
    states = [load_checkpoint(path) for path in (out, whole)]
    assert_same(*states)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}


def assert_same(one: Any, other: Any, name: str = "checkpoint") -> None:
    assert type(one) is type(other), name
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one:
            assert_same(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), name
        for number, (value, other_value) in enumerate(zip(one, other, strict=True)):
            assert_same(value, other_value, f"{name}.{number}")
    else:
        assert one == other, name


def assert_nothing_is_torn(out: Path, whole: Path) -> None:
    """Whatever a kill left: the checkpoint reads, and an adapter is the whole one or not there."""
    load_checkpoint(out)
    if (out / "adapter").exists():
        assert {path.name for path in (out / "adapter").iterdir()} == ADAPTER_FILES
        for name in ("model.safetensors", "codebook.safetensors"):
            assert (out / "adapter" / name).read_bytes() == (whole / "adapter" / name).read_bytes()


def kill_at(moment: str, number: int, run_process: Run, *arguments: str) -> None:
    """Run in a process of its own that kills itself at the moment."""
    ran = run_process(SCRIPT, moment, number, *arguments)
    assert ran.code == -signal.SIGKILL, f"{moment} did not come {number} times: {ran.err}"


def test_all_moments_are_tried() -> None:
    assert list(runpy.run_path(str(SCRIPT))["MOMENTS"]) == MOMENTS


@pytest.fixture
def survives(
    run_cli: Run, run_process: Run, options: list[str], whole: Path
) -> Callable[..., None]:
    """Kill a run at moments, one after the other, resume it, and compare it with the whole one."""

    def check(*kills: tuple[str, int], finished_before: bool = False) -> None:
        arguments = [*options, "--out=killed", "--resume"]
        if finished_before:
            assert run_cli("pretrain_adapter", *arguments).code == 0
        for moment, number in kills:
            kill_at(moment, number, run_process, *arguments)
            assert_nothing_is_torn(Path("killed"), whole)
        ran = run_cli("pretrain_adapter", *arguments)
        assert ran.code == 0, ran.err
        assert_same_run(Path("killed"), whole)

    return check


def test_killed_while_a_checkpoint_a_codebook_and_the_adapter_are_made(
    survives: Callable[..., None],
) -> None:
    survives(
        ("in a checkpoint's write", 3),
        ("in a fit", 1),  # of the teacher's frames: the first fit was before the last kill
        ("in the adapter's folder", 1),
    )


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment(moment: str, survives: Callable[..., None]) -> None:
    survives((moment, 1 if "adapter" in moment or moment == "before the report" else 2))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before the adapter's rename", "after the adapter's rename"])
def test_killed_while_an_adapter_is_replaced(moment: str, survives: Callable[..., None]) -> None:
    """A finished run that is resumed writes its adapter again: the old one makes way."""
    survives((moment, 1), finished_before=True)


@pytest.mark.slow
def test_killed_ten_times_at_random(
    run_process: Run,
    start_process: Run,
    pretrain_options: list[str],
    tmp_path: Path,
) -> None:
    # A feature cache of its own: extraction is killed as well.
    options = [*pretrain_options, "--epochs=60", "--checkpoint-steps=2"]
    options += ["--features", str(tmp_path / "features")]
    moments = []
    for kill in range(10):
        process = start_process("pretrain_adapter", *options, "--out=killed", "--resume")
        moments.append(kill_at_random(process, tmp_path / "killed", at_once=kill == 0))
    ran = run_process("pretrain_adapter", *options, "--out=killed", "--resume")
    assert ran.code == 0, (moments, ran.err)
    assert run_process("pretrain_adapter", *options, "--out=whole").code == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole"), moments


def kill_at_random(process: Any, out: Path, *, at_once: bool) -> str:
    """SIGKILL a run at a random moment, by default after it has written a checkpoint; say when."""

    def written() -> int:
        path = out / "checkpoint.pt"
        return path.stat().st_mtime_ns if path.exists() else 0

    started, before = time.monotonic(), written()
    if at_once:
        time.sleep(random.uniform(0.5, 5.0))
    else:
        while written() == before and process.poll() is None:
            assert time.monotonic() - started < 120
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.3))
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return f"killed after {time.monotonic() - started:.3f} s{', had ended' if ended else ''}"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in a checkpoint's write", "in a fit"])
def test_one_of_two_processes_is_killed(
    moment: str, run_process: Run, options: list[str], tmp_path: Path
) -> None:
    ran = run_process("pretrain_adapter", *options, "--out=whole", processes=2)
    assert ran.code == 0, ran.err
    options = [*options, "--out=killed", "--resume"]
    ran = run_process(SCRIPT, moment, 2, *options, processes=2)
    assert ran.code != 0
    assert "SIGKILL" in ran.err
    ran = run_process("pretrain_adapter", *options, processes=2)
    assert ran.code == 0, ran.err
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
