# SPDX-License-Identifier: Apache-2.0
"""Timelines of long recordings: a few at a time, each within a time limit."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxadapt.backbones import AudioError
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.serving.clip_reading import UploadedAudio, check_length, refuse_audio
from voxadapt.recipes.serving.refusal import RefusedError

if TYPE_CHECKING:
    from voxadapt.timeline import Timeline

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 10


@dataclass(frozen=True)
class TimelineSettings:
    """How a recording is cut.

    Attributes:
        window: Seconds that the model hears at a time.
        hop: Seconds from one window to the next.
        gate: What tells speech from the rest: `none` or `energy`.
    """

    window: float = 3.0
    hop: float = 1.0
    gate: str = "none"


class _CancelledError(Exception):
    """Nobody waits for this timeline any more."""


class TimelineMaker:
    """Makes timelines, one after the other, beside the batches of clips.

    Args:
        model: In eval mode.
        longest: Seconds of a recording.
        timeout: Seconds that one may take, its wait included.
        most_waiting: Recordings that may wait or be computed; one more is refused.
    """

    def __init__(
        self, model: SpeechClassifier, *, longest: float, timeout: float, most_waiting: int = 4
    ) -> None:
        self._model = model
        self._longest = longest
        self._timeout = timeout
        self._most_waiting = most_waiting
        self._taken = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="timeline")

    async def stop(self) -> None:
        """Finish what is being computed."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def check_room(self) -> None:
        """Refuse a recording before it is read.

        Raises:
            RefusedError: Too many wait already.
        """
        if self._taken >= self._most_waiting:
            raise RefusedError(
                503,
                "busy",
                f"{self._taken} recordings wait or are computed already. Send it again in "
                f"{_RETRY_SECONDS} s.",
                retry_after=_RETRY_SECONDS,
            )

    async def make(
        self,
        source: UploadedAudio,
        settings: TimelineSettings,
        is_abandoned: Callable[[], Awaitable[bool]],
        report: Callable[[float, float], object] = lambda _done, _in_all: None,
    ) -> "Timeline":
        """The timeline of a recording.

        Args:
            source: The recording.
            settings: How it is cut.
            is_abandoned: Whether nobody waits for it any more; asked now and then.
            report: Is told the seconds that are done and those there are, from another thread.

        Raises:
            RefusedError: It is too long or cannot be used, a setting is wrong, or it took too long.
        """
        self.check_room()
        self._taken += 1
        cancelled = threading.Event()
        try:
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(
                self._thread, self._make, source, settings, cancelled, report
            )
            deadline = time.monotonic() + self._timeout
            while not (await asyncio.wait({made}, timeout=_POLL_SECONDS))[0]:
                if time.monotonic() > deadline or await is_abandoned():
                    cancelled.set()
                    await asyncio.wait({made})
            return made.result()
        finally:
            cancelled.set()
            self._taken -= 1

    def _make(
        self,
        source: UploadedAudio,
        settings: TimelineSettings,
        cancelled: threading.Event,
        report: Callable[[float, float], object],
    ) -> "Timeline":
        from voxadapt.timeline_gates import build_gate

        def go_on(done: float, in_all: float) -> None:
            if cancelled.is_set():
                raise _CancelledError
            report(done, in_all)

        try:
            go_on(0, 0)
            check_length(source, self._longest, "--max-timeline-seconds")
            made = self._model.timeline(
                source.content,
                window=settings.window,
                hop=settings.hop,
                vad=build_gate(settings.gate),
                progress=go_on,
            )
            return dataclasses.replace(made, name=source.name)
        except _CancelledError:
            raise RefusedError(
                503,
                "too_slow",
                f"No timeline within {self._timeout:g} s (--timeline-timeout). Send a part of the "
                "recording, or ask for a larger hop.",
                retry_after=_RETRY_SECONDS,
            ) from None
        except AudioError as error:
            raise refuse_audio(error) from error
        except ValueError as error:
            raise RefusedError(422, "wrong_option", str(error)) from error
