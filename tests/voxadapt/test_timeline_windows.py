# SPDX-License-Identifier: Apache-2.0
"""Windows: every sample in one, none a sliver, whatever pieces the audio comes in."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxadapt.timeline_windows import Window, cut_windows


def cut(length: int, size: int, hop: int, piece: int = 1_000) -> list[Window]:
    audio = torch.arange(length, dtype=torch.float32)
    return list(cut_windows(audio.split(piece) if length else [], size, hop))


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (10, [0]),
        (9, [0]),
        (1, [0]),
        (14, [0, 4]),
        (15, [0, 4, 5]),
        (17, [0, 4, 7]),
        (18, [0, 4, 8]),
        (0, []),
    ],
)
def test_the_last_window_is_moved_back(length: int, starts: list[int]) -> None:
    windows = cut(length, 10, 4)
    assert [window.start for window in windows] == starts
    assert all(len(window.samples) == min(10, length) for window in windows)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 60), st.integers(1, 70), st.data())
def test_all_samples_are_in_a_window_and_stretches_cover_the_audio(
    length: int, size: int, hop: int, piece: int, data: st.DataObject
) -> None:
    hop = min(size, hop)
    windows = cut(length, size, hop, piece)
    heard: set[int] = set()
    for window in windows:
        expected = torch.arange(window.start, window.start + len(window.samples)).float()
        assert torch.equal(window.samples, expected)
        assert len(window.samples) == min(size, length)
        heard |= set(range(window.start, window.start + len(window.samples)))
    assert heard == set(range(length))
    assert windows[0].stretch[0] == 0
    assert windows[-1].stretch[1] == pytest.approx(length / 16_000)
    for one, next_one in pairwise(windows):
        assert one.stretch[1] == next_one.stretch[0]
        assert 0 < next_one.start - one.start <= hop
    for window in windows:
        start, end = window.times
        # A stretch is longer than half a hop, and lies in what was heard.
        assert start - 1e-9 <= window.stretch[0] < window.stretch[1] <= end + 1e-9


def test_a_stretch_ends_half_way_to_the_next_middle() -> None:
    windows = cut(17_000, 8_000, 4_000)
    assert [window.start for window in windows] == [0, 4_000, 8_000, 9_000]
    borders = [0, 6_000, 10_000, 12_500, 17_000]
    found = [window.stretch for window in windows]
    expected = list(pairwise(borders))
    assert found == [(a / 16_000, b / 16_000) for a, b in expected]


def test_a_window_comes_as_soon_as_the_next_one_is_there() -> None:
    taken = 0

    def audio():  # type: ignore[no-untyped-def]
        nonlocal taken
        for _ in range(1_000):
            taken += 100
            yield torch.zeros(100)

    windows = cut_windows(audio(), 1_000, 500)
    next(windows)
    assert taken == 1_500
