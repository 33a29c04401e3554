# SPDX-License-Identifier: Apache-2.0
"""How benchmarks hand over what they measured: a JSON file, and tables in Markdown."""

import json
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
