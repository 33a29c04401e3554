# SPDX-License-Identifier: Apache-2.0
"""What benchmarks share: memory and processor, a JSON file of results, and tables in Markdown."""

import json
import platform
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
    told = told_megabytes("self", "VmHWM")
    if told is not None:
        return told
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # others count KiB


def told_megabytes(process: int | str, field: str) -> float | None:
    """What Linux tells of a process's memory (MB of 10^6 bytes); None where it does not.

    Args:
        process: Its number, or `self`.
        field: Of `/proc/PROCESS/status`: `VmRSS` is what it has, `VmHWM` the most it has had.
    """
    status = Path(f"/proc/{process}/status")
    text = status.read_text() if status.exists() else ""
    kibibytes = re.search(rf"{field}:\s*(\d+) kB", text)
    return int(kibibytes[1]) * 1024 / 1e6 if kibibytes else None


def processor_name(device: str) -> str:
    """Name of the GPU, or of the CPU.

    Args:
        device: As torch names it: `cpu`, `cuda`, `cuda:1`.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo")  # Linux; platform says no more than x86_64 there
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
