# SPDX-License-Identifier: Apache-2.0
"""Dynamic batching: what is asked within a few milliseconds is answered in one forward pass."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from voxadapt.recipes.serving.refusal import RefusedError

logger = logging.getLogger(__name__)

Clip = TypeVar("Clip")
Answer = TypeVar("Answer")


class Batcher(Generic[Clip, Answer]):
    """Collects clips and answers them together, in one thread.

    The first clip that finds nothing before it waits for others to join. While a batch is being
    answered, the clips that come meanwhile queue up, and make the next batch without a further
    wait.

    Args:
        answer_all: Answers several clips, in their order.
        seconds_of: Length of a clip.
        most_waiting: Clips that may queue; one more is refused.
        batch_seconds: Seconds of audio, padding included, that are answered together.
        collect_seconds: How long the first clip waits for others.

    Attributes:
        answered: Clips that were answered so far.
        batches: Batches that they made.
    """

    def __init__(
        self,
        answer_all: Callable[[list[Clip]], list[Answer]],
        seconds_of: Callable[[Clip], float],
        *,
        most_waiting: int = 64,
        batch_seconds: float = 60.0,
        collect_seconds: float = 0.005,
    ) -> None:
        self._answer_all = answer_all
        self._seconds_of = seconds_of
        self.most_waiting = most_waiting
        self._batch_seconds = batch_seconds
        self._collect_seconds = collect_seconds
        self._waiting: deque[tuple[Clip, asyncio.Future[Answer]]] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None
        self._stopping = False
        self.answered = 0
        self.batches = 0
        self._seconds_per_clip = 0.0  # of the last batch

    def start(self) -> None:
        """Begin to answer; call it in the event loop that `submit` will be called in."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish the batch at hand, and refuse what still waits."""
        self._stopping = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(_stopping())
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)

    @property
    def running(self) -> bool:
        """Whether clips are being answered."""
        return self._worker is not None and not self._worker.done()

    @property
    def waiting(self) -> int:
        """Clips in the queue."""
        return len(self._waiting)

    def check_room(self) -> None:
        """Refuse a clip before it is read.

        Raises:
            RefusedError: The queue is full.
        """
        if self.waiting >= self.most_waiting:
            seconds = max(1, math.ceil(self.waiting * self._seconds_per_clip))
            raise RefusedError(
                503,
                "busy",
                f"{self.waiting} clips wait already (--max-waiting {self.most_waiting}). Send it "
                f"again in {seconds} s.",
                retry_after=seconds,
            )

    async def submit(self, clip: Clip) -> Answer:
        """Queue a clip and wait for its answer.

        Raises:
            RefusedError: The queue is full, or the server is shutting down.
        """
        if self._stopping:
            raise _stopping()
        self.check_room()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((clip, future))
        self._arrived.set()
        return await future

    async def _work(self) -> None:
        while not self._stopping:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(self._collect_seconds)
                continue
            batch = self._take_batch()
            if batch:
                await self._answer(batch)

    def _take_batch(self) -> list[tuple[Clip, "asyncio.Future[Answer]"]]:
        """The longest row of clips from the queue's front that fits into one forward pass."""
        batch: list[tuple[Clip, asyncio.Future[Answer]]] = []
        longest = 0.0
        while self._waiting:
            clip, future = self._waiting[0]
            longest = max(longest, self._seconds_of(clip))
            if batch and longest * (len(batch) + 1) > self._batch_seconds:
                break
            self._waiting.popleft()
            if not future.done():  # else whoever asked has given up
                batch.append((clip, future))
        return batch

    async def _answer(self, batch: list[tuple[Clip, "asyncio.Future[Answer]"]]) -> None:
        begun = time.monotonic()
        found = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._answer_each, [clip for clip, _ in batch]
        )
        self._seconds_per_clip = (time.monotonic() - begun) / len(batch)
        self.answered += len(batch)
        self.batches += 1
        for (_, future), answer in zip(batch, found, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _answer_each(self, clips: list[Clip]) -> "list[Answer | Exception]":
        """Answers, or why there is none; a clip that fails takes no other with it."""
        try:
            return [*self._answer_all(clips)]
        except Exception as error:
            if len(clips) == 1:
                return [error]
            logger.warning(
                "a batch of %d clips failed (%s); each is tried alone", len(clips), error
            )
            return [answer for clip in clips for answer in self._answer_each([clip])]


def _stopping() -> RefusedError:
    return RefusedError(503, "stopping", "The server is shutting down.")
