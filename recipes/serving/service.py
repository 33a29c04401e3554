# SPDX-License-Identifier: Apache-2.0
"""One model and everything that asks it: what the HTTP endpoint and the page share."""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from torch import Tensor

from voxadapt.backbones.audio import SAMPLE_RATE
from voxadapt.classifier import SpeechClassifier
from voxadapt.prediction import Prediction
from voxadapt.recipes.serving.batching import Batcher
from voxadapt.recipes.serving.clip_reading import UploadedAudio, read_clip
from voxadapt.recipes.serving.refusal import RefusedError
from voxadapt.recipes.serving.timelines import TimelineMaker
from voxadapt.recipes.serving.upload import UploadMemory

logger = logging.getLogger(__name__)

_UPLOADS = 8  # of the largest size that may be in memory at once


@dataclass(frozen=True)
class Limits:
    """What is allowed.

    Attributes:
        seconds: Length of a clip.
        timeline_seconds: Length of a recording for a timeline.
        bytes: Bytes of an upload.
        waiting: Clips that may queue.
        timeout: Seconds that a body may take to arrive, and then the answer.
        timeline_timeout: Seconds that a timeline may take.
    """

    seconds: float = 60.0
    timeline_seconds: float = 3600.0
    bytes: int = 64_000_000
    waiting: int = 64
    timeout: float = 30.0
    timeline_timeout: float = 300.0


class Service:
    """Answers for one model.

    Args:
        model: In eval mode, on the device that it runs on.
        limits: What is allowed.
        batch_seconds: Seconds of audio, padding included, in one forward pass.
        collect_seconds: How long the first clip of a batch waits for others.
    """

    def __init__(
        self,
        model: SpeechClassifier,
        limits: Limits,
        *,
        batch_seconds: float = 60.0,
        collect_seconds: float = 0.005,
    ) -> None:
        self.model = model
        self.limits = limits
        self.memory = UploadMemory(_UPLOADS * limits.bytes)
        self.batcher: Batcher[Tensor, Prediction] = Batcher(
            lambda waveforms: model.predict_waveforms(waveforms, frame_weights=True),
            lambda waveform: len(waveform) / SAMPLE_RATE,
            most_waiting=limits.waiting,
            batch_seconds=batch_seconds,
            collect_seconds=collect_seconds,
        )
        self.timelines = TimelineMaker(
            model, longest=limits.timeline_seconds, timeout=limits.timeline_timeout
        )
        self._decoding = ThreadPoolExecutor(2, thread_name_prefix="decoding")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer as long as this context lasts."""
        self.batcher.start()
        try:
            yield
        finally:
            await self.batcher.stop()
            await self.timelines.stop()
            await asyncio.to_thread(self._decoding.shutdown)

    async def predict(self, source: UploadedAudio) -> tuple[Prediction, Tensor]:
        """What the model says of a clip, and its samples ``[S]``.

        Raises:
            RefusedError: It is too long or cannot be used, or the model has too much to do.
        """
        self.batcher.check_room()
        try:
            return await asyncio.wait_for(self._predict(source), self.limits.timeout)
        except asyncio.TimeoutError:
            raise RefusedError(
                503,
                "busy",
                f"No answer within {self.limits.timeout:g} s (--timeout). Send it again, or a "
                "shorter clip.",
                retry_after=max(1, round(self.limits.timeout)),
            ) from None

    async def _predict(self, source: UploadedAudio) -> tuple[Prediction, Tensor]:
        loop = asyncio.get_running_loop()
        waveform = await loop.run_in_executor(
            self._decoding, read_clip, source, self.limits.seconds
        )
        return await self.batcher.submit(waveform), waveform
