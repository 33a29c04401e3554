# SPDX-License-Identifier: Apache-2.0
"""What benchmarks share: a peak of memory, a JSON file of results, and tables in Markdown."""

import json
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_results(path: Path | None, results: dict[str, Any]) -> None:
    """Write everything that was measured; nothing where no file is wanted."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def table_head(cells: Sequence[str]) -> list[str]:
    """The two lines that a table begins with."""
    return [table_line(cells), f"|{'---|' * len(cells)}"]


def table_line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def met(is_met: bool) -> str:
    """Say whether a target was met."""
    return "met" if is_met else "missed"


def peak_megabytes() -> float:
    """The most memory that this process has had (MB of 10^6 bytes).

    Not what `getrusage` says where there is better: a child process begins there with its
    parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        kibibytes = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if kibibytes:
            return int(kibibytes[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # others count KiB
