# SPDX-License-Identifier: Apache-2.0
"""Runs side by side are the runs one after another; one that fails does not stop the others."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.recipes.finetuning import parallel_runs
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.parallel_runs import environment
from voxadapt.recipes.finetuning.run_plan import PlannedRun
from voxadapt.recipes.running.command_line import UsageError

Run = Callable[..., Any]
FILES = ("model/model.safetensors", "history.json", "predictions.jsonl", "splits.json")


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def joined(out: str) -> dict[str, Any]:
    """What a joined run must have in common with another, bit for bit."""
    metrics = read(f"{out}/metrics.json")
    for changing in ("seconds", "config"):
        del metrics[changing]
    for run in metrics["runs"]:
        del run["seconds"]
    files = {
        f"{run['folder']}/{name}": Path(out, run["folder"], name).read_bytes()
        for run in metrics["runs"]
        for name in FILES
    }
    tops = {name: Path(out, name).read_bytes() for name in (FILES[0], "predictions.jsonl")}
    return {"metrics": metrics, **files, **tops}


@pytest.fixture
def folds(finetune_options: list[str]) -> list[str]:
    return [*finetune_options, "--adapter=random", "--fold=all", "--epochs=1", "--report-clips=0"]


def test_side_by_side_is_one_after_another_bit_for_bit(run_cli: Run, folds: list[str]) -> None:
    assert run_cli("finetune", *folds, "--out=serial").code == 0
    ran = run_cli("finetune", *folds, "--out=jobs", "--jobs=2")
    assert ran.code == 0, ran.err
    assert "2 runs, 0 of them finished; 2 side by side" in ran.err
    assert joined("jobs") == joined("serial")
    for run in read("jobs/metrics.json")["runs"]:
        assert "valid was cut from train" in Path("jobs", run["folder"], "log.txt").read_text()
        assert Path("jobs", run["folder"], "report.html").exists()
    # What goes side by side is no part of the result: the other way may go on with it.
    Path("jobs/fold-2/seed-0/metrics.json").unlink()
    ran = run_cli("finetune", *folds, "--out=jobs", "--resume")
    assert ran.code == 0, ran.err
    assert joined("jobs") == joined("serial")


# In place of a training: what it gets, and what it leaves.
STAND_IN = """
import json, pathlib, sys, time
out, number, behaviour = sys.argv[1:]
folder = pathlib.Path(out, f"run-{number}")
if behaviour == "fail":
    print("steps: 10%|x  |", end="")
    sys.exit("error: the disk is full")
if behaviour == "crash":
    raise RuntimeError("a fault of ours")
if behaviour == "wait":
    time.sleep(20)
SCORES = {
    "finish": {"ua": 0.5, "wa": 0.5, "macro_f1": 0.5},
    "values": {"task": "regression", "ccc": 0.5, "pearson": None, "mae": 0.5},
}
if behaviour in SCORES:
    (folder / "metrics.json").write_text(json.dumps({"number": int(number), **SCORES[behaviour]}))
    (folder / "report.html").write_text("page")
"""


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run stand-ins that behave as told: ``stand_ins("finish", "fail", jobs=2)``."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)

    def run(*behaviours: str, jobs: int = 2, resume: bool = False) -> Any:
        def command(out: Path, number: int) -> list[str]:
            return [sys.executable, str(script), str(out), str(number), behaviours[number]]

        monkeypatch.setattr(parallel_runs, "process_command", command)
        plan = [
            PlannedRun("1", number, tmp_path / f"run-{number}") for number in range(len(behaviours))
        ]
        options = FinetuneOptions(jobs=jobs, resume=resume)
        return parallel_runs.run_in_processes(tmp_path, plan, options)

    return run


def test_runs_come_back_in_the_order_of_the_plan(stand_ins: Callable[..., Any]) -> None:
    results = stand_ins(*["finish"] * 5, jobs=3)
    assert [(run.seed, metrics["number"]) for run, metrics in results] == [(n, n) for n in range(5)]


def test_runs_of_values_come_back_too(
    stand_ins: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    results = stand_ins("values", "values")
    assert [metrics["number"] for _, metrics in results] == [0, 1]
    assert "CCC 0.500, MAE 0.500" in capsys.readouterr().err


def test_a_run_that_fails_is_told_with_its_log_and_the_others_finish(
    stand_ins: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        stand_ins("finish", "fail", "finish", "crash")
    told = str(caught.value).splitlines()
    assert told[0].startswith("2 of 4 runs failed; the others are finished.")
    assert told[1] == (
        f"  - fold 1, seed 1: the disk is full (log: {tmp_path / 'run-1' / 'log.txt'})"
    )
    assert "fold 1, seed 3: RuntimeError: a fault of ours" in told[2]
    assert (tmp_path / "run-2" / "report.html").exists()

    times = {n: (tmp_path / f"run-{n}" / "metrics.json").stat().st_mtime_ns for n in (0, 2)}
    results = stand_ins("fail", "finish", "fail", "finish", resume=True)
    assert [metrics["number"] for _, metrics in results] == [0, 1, 2, 3]
    for number, time_before in times.items():
        file = tmp_path / f"run-{number}" / "metrics.json"
        assert file.stat().st_mtime_ns == time_before
    assert "the disk is full" in (tmp_path / "run-1" / "log.txt").read_text()  # logs are added to


def test_runs_that_were_stopped_early_give_no_results(stand_ins: Callable[..., Any]) -> None:
    assert stand_ins("finish", "stop") is None


def test_an_interrupt_ends_the_runs_that_are_at_it(
    stand_ins: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = []
    popen = subprocess.Popen

    def remember(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, **options))
        return started[-1]

    def interrupt(*arguments: Any) -> Any:
        wait_for(lambda: len(started) == 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(parallel_runs.subprocess, "Popen", remember)
    monkeypatch.setattr(Future, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stand_ins("wait", "wait", "wait")
    assert [process.wait(timeout=60) for process in started] == [-signal.SIGTERM] * 2


@pytest.mark.slow
def test_what_the_user_can_put_right_is_told_without_a_traceback(
    run_cli: Run, folds: list[str]
) -> None:
    ran = run_cli("finetune", *folds, "--jobs=2", "--optimizer.learning_rate=1e38", "--out=out")
    assert ran.code == 2
    assert "2 of 2 runs failed" in ran.err
    assert "fold 2, seed 0: the loss is not finite" in ran.err


@pytest.mark.slow
def test_stopped_runs_go_on_side_by_side(run_cli: Run, folds: list[str]) -> None:
    longer = [*folds, "--epochs=3"]
    assert run_cli("finetune", *longer, "--out=serial").code == 0
    ran = run_cli("finetune", *longer, "--out=jobs", "--jobs=2", "--max-epochs=1")
    assert ran.code == 0, ran.err
    assert "go on with --resume" in ran.err
    assert not Path("jobs/metrics.json").exists()
    ran = run_cli("finetune", *longer, "--out=jobs", "--jobs=2", "--resume")
    assert ran.code == 0, ran.err
    assert "going on from epoch 1" in Path("jobs/fold-1/seed-0/log.txt").read_text()
    assert joined("jobs") == joined("serial")


@pytest.mark.slow
def test_processes_of_a_launcher_and_jobs_do_not_go_together(
    run_process: Run, folds: list[str]
) -> None:
    ran = run_process("finetune", *folds, "--out=out", "--jobs=2", processes=2)
    assert ran.code != 0
    assert "--jobs 2: 2 processes were launched" in ran.err


def test_jobs_are_refused_where_several_processes_were_launched() -> None:
    parallel_runs.check_jobs(FinetuneOptions(jobs=3), 1)
    parallel_runs.check_jobs(FinetuneOptions(), 2)
    with pytest.raises(UsageError, match="--jobs 3: 2 processes were launched"):
        parallel_runs.check_jobs(FinetuneOptions(jobs=3), 2)


def living(out: Path) -> list[str]:
    """Processes that are at a planned run of this folder."""
    command = ["ps", "-wweo", "pid,args"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        line
        for line in listed.stdout.splitlines()
        if "voxadapt.recipes.finetuning.planned_run" in line and str(out) in line
    ]


@pytest.mark.slow
def test_runs_end_with_the_command_that_was_killed(
    start_process: Callable[..., subprocess.Popen[str]], folds: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start_process("finetune", *folds, "--out", out, "--jobs=2", "--epochs=5000")
    for folder in ("fold-1", "fold-2"):
        wait_for(lambda folder=folder: (out / folder / "seed-0" / "checkpoint.pt").exists())
    assert len(living(out)) == 2
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not living(out))


def wait_for(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    for _ in range(round(seconds / 0.1)):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def test_threads_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("RANKED_BY_USER", "kept")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    found = environment(slot=1, jobs=3)
    assert found["OMP_NUM_THREADS"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in found
    assert "RANK" not in found
    assert "MASTER_PORT" not in found
    assert environment(slot=1, jobs=9)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment(slot=1, jobs=3)["OMP_NUM_THREADS"] == "5"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = [environment(slot, jobs=3)["CUDA_VISIBLE_DEVICES"] for slot in range(3)]
    assert devices == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert environment(slot=1, jobs=2)["CUDA_VISIBLE_DEVICES"] == "6"
    assert parallel_runs.LOG_FILE == "log.txt"
