# SPDX-License-Identifier: Apache-2.0
"""Pictures that recipes write beside their tables, all in one style."""

from pathlib import Path
from typing import TYPE_CHECKING

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.running.command_line import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart by people who do not see all colours too (Okabe and Ito 2008).
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure; made without pyplot, which would keep it and want a display.

    Args:
        width: Inches.
        height: Inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_picture(path: Path) -> str:
    """What a picture is to be written as, by the ending of its path.

    Raises:
        UsageError: Nothing can be written as that.
    """
    ending = path.suffix.removeprefix(".").lower()
    allowed = sorted(new_figure(1, 1).canvas.get_supported_filetypes())
    if ending not in allowed:
        raise UsageError(f"{path}: cannot be drawn as {ending!r}; use {', '.join(allowed)}")
    return ending


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure; the ending of the path says as what.

    Raises:
        UsageError: Nothing can be written as that, or there.
    """
    ending = check_picture(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, lambda file: figure.savefig(file, format=ending, dpi=150))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error})") from None
