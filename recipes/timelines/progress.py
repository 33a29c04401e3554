# SPDX-License-Identifier: Apache-2.0
"""How far a timeline is, in audio."""

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from voxadapt.backbones import AudioError
from voxadapt.backbones.audio import audio_seconds
from voxadapt.recipes.timelines.table import clock


class _AudioBar(tqdm):
    """A bar that counts seconds of audio and shows them as times."""

    @property
    def format_dict(self) -> dict[str, Any]:
        """What `bar_format` may name: `done`, `whole` and `speed` as well."""
        values = super().format_dict
        rate = values["rate"] or (values["n"] / values["elapsed"] if values["elapsed"] else 0.0)
        times = {"done": clock(values["n"]), "whole": clock(values["total"] or 0)}
        return {**values, **times, "speed": f"{rate:.2g}" if rate < 100 else f"{rate:.0f}"}


class RecordingsProgress:
    """Shows a bar on standard error over recordings, from the third second on.

    Args:
        paths: All recordings, in the order in which they come.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._seconds = {path: _seconds(path) for path in paths}
        self._before = 0.0
        self._bar = _AudioBar(
            total=sum(self._seconds.values()),
            desc="timeline",
            delay=2,
            leave=False,
            file=sys.stderr,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {done}/{whole} "
            "[{elapsed}<{remaining}, {speed} times real time]",
        )

    def update(self, done: float, _: float) -> None:
        """Say how many seconds of the present recording are done."""
        self._bar.update(self._before + done - self._bar.n)

    def finish(self, path: Path) -> None:
        """Say that a recording is done, or given up."""
        self._before += self._seconds[path]
        self._bar.update(self._before - self._bar.n)

    def say(self, text: str, stream: TextIO) -> None:
        """Print a text without breaking the bar."""
        tqdm.write(text, file=stream)

    def __enter__(self) -> "RecordingsProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _seconds(path: Path) -> float:
    """A file's length by its header; 0 where that cannot be had, which is said in its turn."""
    try:
        seconds = audio_seconds(path)
    except AudioError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
