# SPDX-License-Identifier: Apache-2.0
"""The benchmark of poolers: what it runs, what it counts, and that it goes on where it stopped."""

import json
import shlex
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = "--epochs=1 --batch-seconds=3 --size.width=16 --size.layers=1 --size.heads=2 "
SMALL += "--size.feedforward=16 --size.position_groups=4"


@pytest.fixture
def benchmark(load_benchmark: Callable[..., Namespace]) -> Any:
    return load_benchmark("poolers").main


@pytest.fixture
def corpora(tmp_path: Path, corpus: Path) -> Path:
    for name in ("urdu", "fsdd", "baved"):
        (tmp_path / name).mkdir()
        shutil.copy(corpus, tmp_path / name / f"{name}.csv")
    return tmp_path


def test_every_line_of_every_task_is_a_command(
    benchmark: Any, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main([str(corpora), "--dry-run"])
    pretraining, *lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]

    assert pretraining[1] == "recipes/pretrain_adapter.py"
    assert len(lines) == 5 * 9 * 5  # tasks, adapters with poolers, seeds
    assert len({line[line.index("--out") + 1] for line in lines}) == len(lines)
    for line in lines:
        seed = int(line[line.index("--seed") + 1])
        assert "--fold" not in line or line[line.index("--fold") + 1] == str(seed + 1)


def test_finished_runs_are_counted_and_not_run_again(
    benchmark: Any,
    corpora: Path,
    features: Path,
    run_recipe: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = []

    def run_here(command: list[str], **_: Any) -> None:
        started.append(command)
        ran = run_recipe(Path(command[1]).stem, *command[2:], "--allow-outside")
        assert ran.code == 0, ran.err

    monkeypatch.setattr(benchmark.subprocess, "run", run_here)
    monkeypatch.setattr(benchmark, "LINES", (("random", "sap"), ("none", "mean")))
    out = corpora / "runs"
    (out / "pretrain" / "adapter").mkdir(parents=True)
    (out / "pretrain" / "adapter" / "config.json").write_text("{}")
    arguments = [str(corpora), "--out", str(out), "--features", str(features), "--jobs", "1"]
    arguments += ["--seeds", "2", "--tasks", "urdu-official", "--finetune", SMALL]

    benchmark.main(arguments)
    printed = capsys.readouterr().out
    benchmark.main(arguments)
    (out / "urdu-official" / "none-mean" / "seed-1" / "metrics.json").unlink()
    again = capsys.readouterr().out
    benchmark.main([*arguments, "--show"])
    finished = capsys.readouterr().out

    assert len(started) == 4
    assert again.endswith(printed[printed.index("**urdu-official**") :])
    assert "| random | sap |" in finished
    assert "| none | mean |" not in finished
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["urdu-official/none/mean"] == []
    scores = [100 * run["ua"] for run in results["urdu-official/random/sap"]]
    (line,) = [line for line in printed.splitlines() if line.startswith("| random | sap |")]
    assert f"| {sum(scores) / 2:.1f} ± {abs(scores[0] - scores[1]) / 2**0.5:.1f} |" in line


def test_more_seeds_than_folds_are_refused(
    benchmark: Any, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        benchmark.main([str(corpora), "--seeds", "6"])
    assert "seed s tests fold s + 1 of 5" in capsys.readouterr().err
