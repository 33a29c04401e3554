# SPDX-License-Identifier: Apache-2.0
"""What benchmarks share."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

Load = Callable[..., Namespace]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell it elsewhere")
def test_memory_is_what_linux_tells(load_benchmark: Load) -> None:
    measured = load_benchmark("measured").main
    now, most = (measured.told_megabytes("self", field) for field in ("VmRSS", "VmHWM"))
    assert 1 < now <= most
    assert measured.peak_megabytes() >= most
    assert measured.told_megabytes("self", "VmNothing") is None
    assert measured.told_megabytes(2**22 + 1, "VmRSS") is None  # there is no such process


def test_the_processor_has_a_name(load_benchmark: Load) -> None:
    assert load_benchmark("measured").main.processor_name("cpu")


def test_results_are_written_where_they_are_wanted(load_benchmark: Load, tmp_path: Path) -> None:
    measured = load_benchmark("measured").main
    measured.write_results(None, {"a": 1})
    measured.write_results(tmp_path / "new" / "out.json", {"a": 1})
    assert (tmp_path / "new" / "out.json").read_text() == '{\n  "a": 1\n}\n'
