# SPDX-License-Identifier: Apache-2.0
"""How far an extraction is, in hours of audio."""

import logging
import time
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)


class _HoursBar(tqdm):
    """A bar that counts seconds of audio and shows hours, and how fast they go by."""

    @property
    def format_dict(self) -> dict[str, Any]:
        """What `bar_format` may name: `hours`, `all_hours` and `speed` as well."""
        values = super().format_dict
        rate = values["rate"] or (values["n"] / values["elapsed"] if values["elapsed"] else 0.0)
        return {
            **values,
            "hours": values["n"] / 3600,
            "all_hours": (values["total"] or 0) / 3600,
            "speed": f"{rate / 3600:.2g}",
        }


class AudioProgress:
    """Shows a bar from the fourth second on, and logs the speed at the end.

    Args:
        seconds: All the audio that this process has to do (seconds).
        processes: Processes that share the work; the bar then says that it shows one share.
        shown: Whether to show and log anything.
    """

    def __init__(self, seconds: float, *, processes: int = 1, shown: bool = True) -> None:
        self._done = 0.0
        self._started = time.perf_counter()
        self._shown = shown
        self._whose = "" if processes == 1 else f" (1 of {processes} processes)"
        self._bar = _HoursBar(
            total=seconds,
            desc=f"features{self._whose}",
            delay=3,
            disable=not shown,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {hours:.2f}/{all_hours:.2f} h "
            "[{elapsed}<{remaining}, {speed} audio-hours/s]",
        )

    def update(self, seconds: float) -> None:
        """Say that so much audio is done (seconds)."""
        self._done += seconds
        self._bar.update(seconds)

    def __enter__(self) -> "AudioProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.close()
        if self._shown and kind is None and self._done > 0:
            took = max(time.perf_counter() - self._started, 1e-3)
            logger.info(
                "features of %.3f h of audio in %.1f s: %s%s",
                self._done / 3600,
                took,
                speed_text(self._done / took),
                self._whose,
            )


def speed_text(rate: float) -> str:
    """Seconds of audio per second in words: hours of audio per second, and times real time."""
    times = f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}"
    return f"{rate / 3600:.2g} audio-hours per second, {times} times real time"
