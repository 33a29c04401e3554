# SPDX-License-Identifier: Apache-2.0
"""A function over many items in several processes, and the rest goes on where one of them dies."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 16  # items handed over at once
_WORTH_PROCESSES = 256  # fewer items are done before processes have started


def default_jobs(items: int) -> int:
    """Processes that so many items are worth: as many as there are cores, or one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) if items >= _WORTH_PROCESSES else 1


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int,
    crashed: Callable[[Item], Result],
    update: Callable[[int], object] = lambda count: None,
) -> list[Result]:
    """Return a function's results in the items' order, computed by several processes.

    A library may end its process on a damaged file, and the system ends one that takes all memory.
    What was at work then is done again in processes of its own, in the end item by item, and the
    one that kills its process there too gets `crashed`'s result.

    Args:
        function: Defined at the top of a module; it and the items go to other processes.
        items: What to call it with.
        jobs: Processes; with 1 all is done in this one, which a crash ends.
        crashed: Gives the result of an item on which a process died.
        update: Called with the number of items done since the last call.
    """
    results: dict[int, Result] = {}
    if jobs == 1:
        for index, item in enumerate(items):
            results[index] = function(item)
            update(1)
        return list(results.values())
    pending = [
        range(first, min(first + _CHUNK, len(items))) for first in range(0, len(items), _CHUNK)
    ]
    while pending:
        pending = _run(function, items, pending, jobs, results, update)
        # Chunks start in their order, and no more than these can have.
        suspects, pending = pending[: 2 * jobs + 1], pending[2 * jobs + 1 :]
        for chunk in suspects:
            if not _run(function, items, [chunk], 1, results, update):
                continue
            for index in chunk:
                if _run(function, items, [range(index, index + 1)], 1, results, update):
                    results[index] = crashed(items[index])
                    update(1)
    return [results[index] for index in range(len(items))]


def _run(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    chunks: Sequence[range],
    jobs: int,
    results: dict[int, Result],
    update: Callable[[int], object],
) -> list[range]:
    """Do chunks in a pool; returns those that are not done because a process died."""
    unfinished = []
    with _start_pool(function, min(jobs, len(chunks))) as pool:
        futures: list[Future[list[Result]]] = []
        try:
            for chunk in chunks:
                futures.append(pool.submit(_call, function, [items[index] for index in chunk]))
        except BrokenProcessPool:
            pass
        try:
            for number, chunk in enumerate(chunks):
                try:
                    found = futures[number].result()
                except (BrokenProcessPool, IndexError):
                    unfinished.append(chunk)
                    continue
                results.update(zip(chunk, found, strict=True))
                update(len(chunk))
        except BaseException:  # such as Ctrl-C: what has not begun need not
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return unfinished


def _start_pool(function: Callable[[Item], Result], jobs: int) -> ProcessPoolExecutor:
    """Processes that share the imports of one server, and none of this process's threads."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([function.__module__])
    return ProcessPoolExecutor(jobs, context, initializer=_begin)


def _begin() -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one


def _call(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
