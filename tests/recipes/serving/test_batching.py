# SPDX-License-Identifier: Apache-2.0
"""Clips that come together are answered together, and none takes another with it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from voxadapt.recipes.serving.batching import Batcher
from voxadapt.recipes.serving.refusal import RefusedError


class Doubler:
    """Doubles numbers, and remembers in which batches."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.begun = threading.Event()

    def __call__(self, clips: list[float]) -> list[float]:
        self.batches.append(clips)
        self.begun.set()
        assert self.may_go.wait(10)
        if 13 in clips:
            raise RuntimeError("13 is not doubled")
        return [2 * clip for clip in clips]


def run(
    work: Callable[[Batcher[float, float], Doubler], Coroutine[Any, Any, None]], **options: Any
) -> Doubler:
    """Do something with a batcher whose clips are as many seconds long as they say."""
    doubler = Doubler()

    async def main() -> None:
        batcher = Batcher(doubler, float, **options)
        batcher.start()
        try:
            await asyncio.wait_for(work(batcher, doubler), 20)
        finally:
            doubler.may_go.set()
            await batcher.stop()

    asyncio.run(main())
    return doubler


def test_clips_that_come_together_are_one_batch_in_their_order() -> None:
    async def work(batcher: Batcher[float, float], _: Doubler) -> None:
        answers = await asyncio.gather(*(batcher.submit(clip) for clip in (3, 1, 2)))
        assert answers == [6, 2, 4]

    assert run(work).batches == [[3, 1, 2]]


def test_a_batch_has_no_more_seconds_than_allowed_with_its_padding() -> None:
    async def work(batcher: Batcher[float, float], _: Doubler) -> None:
        clips = [4, 1, 1, 9, 2, 99, 1]
        assert await asyncio.gather(*map(batcher.submit, clips)) == [2 * clip for clip in clips]

    batches = run(work, batch_seconds=12).batches
    assert batches == [[4, 1, 1], [9], [2], [99], [1]]


def test_what_comes_while_a_batch_is_computed_makes_the_next() -> None:
    async def work(batcher: Batcher[float, float], doubler: Doubler) -> None:
        doubler.may_go.clear()
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.to_thread(doubler.begun.wait, 10)
        later = [asyncio.create_task(batcher.submit(clip)) for clip in (2, 3, 4)]
        await asyncio.sleep(0.02)
        assert batcher.waiting == 3
        doubler.may_go.set()
        assert await asyncio.gather(first, *later) == [2, 4, 6, 8]

    assert run(work).batches == [[1], [2, 3, 4]]


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def work(batcher: Batcher[float, float], doubler: Doubler) -> None:
        doubler.may_go.clear()
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.to_thread(doubler.begun.wait, 10)
        queued = [asyncio.create_task(batcher.submit(clip)) for clip in (2, 3)]
        await asyncio.sleep(0.02)
        with pytest.raises(RefusedError, match="2 clips wait already") as refused:
            await batcher.submit(4)
        assert refused.value.status == 503
        assert int(refused.value.headers()["Retry-After"]) >= 1
        doubler.may_go.set()
        assert await asyncio.gather(first, *queued) == [2, 4, 6]
        assert await batcher.submit(5) == 10

    run(work, most_waiting=2)


def test_a_clip_that_fails_takes_no_other_with_it() -> None:
    async def work(batcher: Batcher[float, float], _: Doubler) -> None:
        answers = await asyncio.gather(
            *(batcher.submit(clip) for clip in (1, 13, 2)), return_exceptions=True
        )
        assert [answers[0], answers[2]] == [2, 4]
        assert isinstance(answers[1], RuntimeError)
        assert batcher.running
        assert await batcher.submit(3) == 6

    assert run(work).batches == [[1, 13, 2], [1], [13], [2], [3]]


def test_a_clip_that_nobody_waits_for_is_not_computed() -> None:
    async def work(batcher: Batcher[float, float], doubler: Doubler) -> None:
        doubler.may_go.clear()
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.to_thread(doubler.begun.wait, 10)
        given_up, kept = (asyncio.create_task(batcher.submit(clip)) for clip in (2, 3))
        await asyncio.sleep(0.02)
        given_up.cancel()
        doubler.may_go.set()
        assert await asyncio.gather(first, kept) == [2, 6]

    assert run(work).batches == [[1], [3]]


def test_stopping_finishes_the_batch_at_hand_and_refuses_what_waits() -> None:
    async def work(batcher: Batcher[float, float], doubler: Doubler) -> None:
        doubler.may_go.clear()
        running = asyncio.create_task(batcher.submit(1))
        await asyncio.to_thread(doubler.begun.wait, 10)
        queued = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.02)
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0.02)
        doubler.may_go.set()
        await stopping
        assert not batcher.running
        assert await running == 2
        with pytest.raises(RefusedError, match="shutting down"):
            await queued
        with pytest.raises(RefusedError, match="shutting down"):
            await batcher.submit(3)

    run(work)
