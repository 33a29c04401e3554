# SPDX-License-Identifier: Apache-2.0
"""Timelines within their time, for those who still wait."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.serving.clip_reading import UploadedAudio
from voxadapt.recipes.serving.refusal import RefusedError
from voxadapt.recipes.serving.timelines import TimelineMaker, TimelineSettings


async def never() -> bool:
    return False


class EndlessModel:
    """Its timelines take as long as nobody stops them."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def timeline(self, source: Any, *, progress: Callable[..., Any], **options: Any) -> None:
        for _ in range(10_000):
            self.begun.set()
            progress(1.0, 2.0)
            threading.Event().wait(0.005)
        raise AssertionError("nobody stopped it")


@pytest.fixture
def recording(zoo: Any) -> UploadedAudio:
    return UploadedAudio("a meeting.wav", zoo.wave_bytes(zoo.tone(16_000, 4.0)))


def make(model: Any, source: UploadedAudio, **options: Any) -> Any:
    """One timeline; the maker is stopped afterwards."""
    settings = options.pop("settings", TimelineSettings())
    report = options.pop("report", lambda done, in_all: None)

    async def main() -> Any:
        maker = TimelineMaker(model, **{"longest": 60.0, "timeout": 60.0, **options})
        try:
            return await maker.make(source, settings, never, report)
        finally:
            await maker.stop()

    return asyncio.run(main())


def test_it_is_that_of_the_model_and_tells_how_far_it_is(
    served_model: Any, recording: UploadedAudio
) -> None:
    told: list[tuple[float, float]] = []
    settings = TimelineSettings(1.0, 0.5)
    made = make(served_model, recording, settings=settings, report=lambda *now: told.append(now))
    expected = served_model.timeline(recording.content, window=1.0, hop=0.5)
    assert np.allclose(made.smoothed, expected.smoothed, atol=1e-5)
    assert made.name == "a meeting.wav"
    assert told[-1] == (4, 4)


def test_wrong_settings_and_audio_are_refused(served_model: Any, recording: UploadedAudio) -> None:
    with pytest.raises(RefusedError, match="hop: found 2"):
        make(served_model, recording, settings=TimelineSettings(1.0, 2.0))
    with pytest.raises(RefusedError, match=r"found 4\.0 s, allowed are 3 s"):
        make(served_model, recording, longest=3.0)
    with pytest.raises(RefusedError, match=r"x\.wav cannot be decoded"):
        make(served_model, UploadedAudio("x.wav", b"no audio" * 99))


def test_one_that_takes_too_long_is_stopped(recording: UploadedAudio) -> None:
    with pytest.raises(RefusedError, match=r"No timeline within 0\.01 s") as refused:
        make(EndlessModel(), recording, timeout=0.01)
    assert refused.value.status == 503


def test_one_that_nobody_waits_for_is_stopped(recording: UploadedAudio) -> None:
    model = EndlessModel()

    async def main() -> None:
        maker = TimelineMaker(model, longest=60.0, timeout=60.0)

        async def gone() -> bool:
            return model.begun.is_set()

        with pytest.raises(RefusedError):
            await maker.make(recording, TimelineSettings(), gone)
        maker.check_room()
        await maker.stop()

    asyncio.run(main())


def test_a_visitor_who_is_cancelled_frees_the_place(recording: UploadedAudio) -> None:
    model = EndlessModel()

    async def main() -> None:
        maker = TimelineMaker(model, longest=60.0, timeout=60.0, most_waiting=1)
        task = asyncio.create_task(maker.make(recording, TimelineSettings(), never))
        await asyncio.to_thread(model.begun.wait, 10)
        with pytest.raises(RefusedError, match="1 recordings wait") as refused:
            maker.check_room()
        assert refused.value.retry_after
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        maker.check_room()
        await maker.stop()  # returns: the thread was told to stop

    asyncio.run(main())
