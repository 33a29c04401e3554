# SPDX-License-Identifier: Apache-2.0
"""Results come in order from any number of processes, also where one of them dies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.process_map import default_jobs, map_in_processes

# A script, since what goes to other processes must be found there by its module.
SCRIPT = """
import os
import sys
from voxadapt.recipes.corpora.process_map import map_in_processes

DEADLY = {int(number) for number in sys.argv[3:]}

def square(number):
    if number in DEADLY:
        os._exit(1)
    return number * number

if __name__ == "__main__":
    updates = []
    found = map_in_processes(
        square,
        range(int(sys.argv[2])),
        jobs=int(sys.argv[1]),
        crashed=lambda number: -number,
        update=updates.append,
    )
    expected = [-n if n in DEADLY else n * n for n in range(int(sys.argv[2]))]
    print(found == expected, sum(updates))
"""


@pytest.mark.parametrize(
    ("jobs", "items", "deadly"), [(2, 100, []), (2, 0, []), (2, 100, [0, 37, 99]), (3, 5, [4])]
)
def test_a_process_that_dies_costs_its_item_only(
    jobs: int, items: int, deadly: list[int], tmp_path: Path, run_process: Callable[..., Any]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = run_process(script, jobs, items, *deadly)
    assert ran.out.split() == ["True", str(items)], ran.err


def test_errors_come_through() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        map_in_processes(int, ["1", "x", "3"], jobs=2, crashed=lambda item: 0)


def test_one_job_is_this_process() -> None:
    done: list[int] = []
    found = map_in_processes(
        lambda item: item + 1, [1, 2, 3], jobs=1, crashed=lambda item: 0, update=done.append
    )
    assert found == [2, 3, 4]
    assert done == [1, 1, 1]


def test_few_items_are_not_worth_processes() -> None:
    assert default_jobs(10) == 1
    assert default_jobs(10_000) >= 1
