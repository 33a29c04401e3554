# SPDX-License-Identifier: Apache-2.0
"""Worker processes that `adapter_gain.py` deals its runs out to."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from adapter_gain_worker import Task, do_task

WORKER = Path(__file__).resolve().with_name("adapter_gain_worker.py")
# The memory of a process grows with the number of batch shapes it has seen.
RUNS_OF_A_WORKER = 12


class RunError(RuntimeError):
    """A run did not come to its end; the message says which and where its log is."""


class Worker:
    """A process that runs tasks one after another.

    Args:
        threads: Threads that it computes with.
    """

    def __init__(self, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.runs = 0
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def do(self, task: Task) -> dict[str, Any]:
        """Run a task.

        Raises:
            RunError: It could not be run, or the process died.
        """
        self.runs += 1
        questions, answers = self._process.stdin, self._process.stdout
        if questions is None or answers is None:
            raise RuntimeError("the worker has no pipes")
        try:
            questions.write(json.dumps(task) + "\n")
            questions.flush()
            answer = json.loads(answers.readline() or '{"error": "its process died"}')
        except (BrokenPipeError, ValueError) as error:
            answer = {"error": f"its process died ({error})"}
        if "error" in answer:
            raise RunError(failure(task, answer["error"]))
        return dict(answer["result"])

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def run_tasks(
    tasks: Sequence[Task], jobs: int, threads: int, on_result: Callable[[Task, dict], None]
) -> None:
    """Run all tasks; after a failure no further one is begun.

    Args:
        tasks: The tasks, in order.
        jobs: Processes side by side; 0 runs them in this process.
        threads: Threads of each process.
        on_result: Called with each task and its result, one at a time.

    Raises:
        RunError: One of them failed.
    """
    if not jobs:
        for task in tasks:
            try:
                result = do_task(task)
            except (Exception, SystemExit) as error:
                message = failure(task, f"{type(error).__name__}: {error}")
                raise RunError(message) from error
            on_result(task, result)
        return

    queue, lock = iter(tasks), threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        worker: Worker | None = None
        try:
            while not stopped.is_set():
                with lock:
                    task = next(queue, None)
                if task is None:
                    return
                if worker is not None and worker.runs >= RUNS_OF_A_WORKER:
                    worker.close()
                    worker = None
                worker = worker or Worker(threads)
                result = worker.do(task)
                with lock:
                    on_result(task, result)
        except BaseException:
            stopped.set()
            raise
        finally:
            if worker is not None:
                worker.close()

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(min(jobs, len(tasks)))]:
            future.result()


def failure(task: Task, error: str) -> str:
    """What to tell of a run that failed."""
    return (
        f"{task['name']}: {error}\nIts log is {task['log']}. What is finished stays; the same "
        "command goes on from here"
    )
