# SPDX-License-Identifier: Apache-2.0
"""The runs of a sweep, dealt out to worker processes as these become free."""

import dataclasses
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from voxadapt.recipes.finetuning.parallel_runs import environment
from voxadapt.recipes.scoring.target_scores import selection_score
from voxadapt.recipes.sweeping.options import Cell, SweepOptions, finetune_options

LOG_FOLDER = "logs"


def run_cells(cells: Sequence[Cell], options: SweepOptions, out: Path) -> dict[str, str]:
    """Run cells, `--jobs` at a time; one that fails does not stop the others.

    Args:
        cells: What is not finished yet.
        options: The options of the sweep.
        out: The sweep's folder; each worker logs to ``logs/worker-N.txt`` there.

    Returns:
        What was wrong, by the cell's title.
    """
    jobs = min(options.jobs, len(cells))
    (out / LOG_FOLDER).mkdir(exist_ok=True)
    waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        waiting.put(cell)
    wrong: dict[str, str] = {}
    bar = tqdm(total=len(cells), desc="runs of the sweep", unit="run", file=sys.stderr)
    workers = [
        Worker(out / LOG_FOLDER / f"worker-{slot}.txt", environment(slot, jobs))
        for slot in range(jobs)
    ]

    def work(worker: Worker) -> None:
        while True:
            try:
                cell = waiting.get_nowait()
            except queue.Empty:
                return
            told = worker.run(cell, options)
            if told:
                wrong[cell.title] = told
            bar.set_postfix_str(_describe(cell))
            bar.update()

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for worker in workers:
            worker.close()
        bar.close()
    return wrong


def _describe(cell: Cell) -> str:
    path = cell.folder / "metrics.json"
    if not path.exists():
        return f"{cell.title}: not finished"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    name = selection_score(metrics)
    return f"{cell.title}: {name.upper()} {metrics[name]:.3f}"


def task_of(cell: Cell, options: SweepOptions) -> str:
    """What a worker is told of a cell, one line of JSON."""
    config = dataclasses.asdict(finetune_options(options, cell))
    return json.dumps({"config": config, "keep_models": options.keep_models})


class Worker:
    """One process, which runs one cell after another.

    Args:
        log: Where it writes what it has to say.
        surroundings: Its environment.
    """

    def __init__(self, log: Path, surroundings: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "voxadapt.recipes.sweeping.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=surroundings,
                text=True,
            )
        self.tasks: Any = self.process.stdin
        self.answers: Any = self.process.stdout

    def run(self, cell: Cell, options: SweepOptions) -> str:
        """Run a cell; returns what was wrong, or nothing."""
        try:
            self.tasks.write(task_of(cell, options) + "\n")
            self.tasks.flush()
            answer = self.answers.readline()
        except (BrokenPipeError, ValueError):
            answer = ""
        if not answer:
            code = self.process.wait()
            return f"its process ended with code {code}; see {self.log}"
        return str(json.loads(answer))

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.process.wait()
