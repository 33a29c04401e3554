# SPDX-License-Identifier: Apache-2.0
"""The runs of one command side by side, each in a process of its own.

A run depends on its options, fold and seed alone, so which runs go side by side changes nothing but
the time: with the same number of threads, weights and predictions are those of a run after another,
bit for bit.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import PlannedRun
from voxadapt.recipes.finetuning.run_results import Results
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.scoring.target_scores import show_scores

logger = logging.getLogger(__name__)

LOG_FILE = "log.txt"
# What a launcher leaves in the environment; a run that saw it would wait for processes of its own.
_LAUNCHER = (
    "ACCELERATE_",
    "LOCAL_",
    "MASTER_",
    "TORCHELASTIC_",
    "GROUP_",
    "ROLE_",
    "RANK",
    "WORLD",
)


def check_jobs(options: FinetuneOptions, processes: int) -> None:
    """Refuse runs side by side where a launcher has started several processes already.

    Raises:
        UsageError: It has.
    """
    if options.jobs > 1 and processes > 1:
        raise UsageError(
            f"--jobs {options.jobs}: {processes} processes were launched, which share each run. "
            "Launch one, which starts the runs itself, or leave --jobs out"
        )


def run_in_processes(
    out: Path, plan: Sequence[PlannedRun], options: FinetuneOptions
) -> Results | None:
    """Run all that are not finished, `--jobs` at a time; a failure does not stop the others.

    Args:
        out: The command's folder, claimed.
        plan: The runs; each logs to ``log.txt`` in its folder.
        options: The options.

    Returns:
        The runs with their metrics; None if ``--max-epochs`` ended them early.

    Raises:
        UsageError: Some failed; the message says which, why, and where their logs are.
    """
    left = [number for number, run in enumerate(plan) if not (options.resume and is_finished(run))]
    jobs = min(options.jobs, max(1, len(left)))
    logger.info(
        "%d runs, %d of them finished; %d side by side, each logs to %s in its folder",
        *(len(plan), len(plan) - len(left), jobs, LOG_FILE),
    )
    codes = _Pool(out, plan, jobs).run(left)
    failed = [number for number, code in codes.items() if code]
    if failed:
        told = "".join(f"\n  - {_failure(plan[number])}" for number in failed)
        raise UsageError(
            f"{len(failed)} of {len(plan)} runs failed; the others are finished. The same command "
            f"with --resume runs only what is left:{told}"
        )
    if not all(is_finished(run) for run in plan):
        return None
    return [(run, _read_metrics(run)) for run in plan]


def is_finished(run: PlannedRun) -> bool:
    """Whether a run has written its results; its report comes after them."""
    return all((run.folder / name).exists() for name in ("metrics.json", "report.html"))


def _read_metrics(run: PlannedRun) -> dict:
    return dict(json.loads((run.folder / "metrics.json").read_text(encoding="utf-8")))


class _Pool:
    """Deals runs out to a number of processes, and ends these with this one."""

    def __init__(self, out: Path, plan: Sequence[PlannedRun], jobs: int) -> None:
        self.out, self.plan, self.jobs = out, plan, jobs
        self.started: set[subprocess.Popen[bytes]] = set()
        self.stopped = threading.Event()
        self.slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(jobs):
            self.slots.put(slot)

    def run(self, numbers: Sequence[int]) -> dict[int, int]:
        """Run the numbered runs; returns the exit code of each."""
        codes: dict[int, int] = {}
        bar = tqdm(total=len(numbers), desc="runs", unit="run", file=sys.stderr)
        with ThreadPoolExecutor(self.jobs) as pool:
            waiting = {number: pool.submit(self._run, number) for number in numbers}
            try:
                for number, future in waiting.items():
                    codes[number] = future.result()
                    bar.update()
                    if not codes[number] and is_finished(self.plan[number]):
                        metrics = _read_metrics(self.plan[number])
                        bar.set_postfix_str(f"{self.plan[number].title}: {show_scores(metrics)}")
            except BaseException:
                self.stopped.set()
                for process in list(self.started):
                    process.terminate()
                raise
            finally:
                bar.close()
        return codes

    def _run(self, number: int) -> int:
        """One run in a process of its own; returns its exit code."""
        if self.stopped.is_set():
            return 130
        folder, slot = self.plan[number].folder, self.slots.get()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(folder / LOG_FILE, "ab") as log:
                process = subprocess.Popen(
                    process_command(self.out, number),
                    # Its end is how the process learns that this one is no more.
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment(slot, self.jobs),
                )
                self.started.add(process)
                if self.stopped.is_set():
                    process.terminate()
                code = process.wait()
                self.started.discard(process)
            return code
        finally:
            self.slots.put(slot)


def process_command(out: Path, number: int) -> list[str]:
    """What starts a run of the plan."""
    return [sys.executable, "-m", "voxadapt.recipes.finetuning.planned_run", str(out), str(number)]


def environment(slot: int, jobs: int) -> dict[str, str]:
    """Environment of a run: its share of the threads, and a GPU where there are several.

    Args:
        slot: Which of the runs side by side it is, from 0.
        jobs: How many go side by side.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER)}
    # Whoever has set the number of threads means each run's.
    kept.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // jobs)))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus > 1:
        seen = kept.get("CUDA_VISIBLE_DEVICES", "")
        names = seen.split(",") if seen else [str(gpu) for gpu in range(gpus)]
        kept["CUDA_VISIBLE_DEVICES"] = names[slot % gpus]
    return kept


def _failure(run: PlannedRun) -> str:
    """Which run failed, with the last that it said, and where its log is."""
    log = run.folder / LOG_FILE
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    # Before the message there may be a progress bar, on the same line.
    _, found, message = text.rpartition("error: ")
    if not found or "Traceback (most recent call last)" in message:
        message = text.splitlines()[-1] if text else "it ended without a message"
    return f"{run.title}: {message} (log: {log})"
