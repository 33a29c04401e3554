# SPDX-License-Identifier: Apache-2.0
"""Gates are asked piece by piece, and what they say comes back on the recording's own clock."""

from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.timeline_speech import append_span, find_speech, seconds_of, spans_within

RATE = 16_000


def loud_spans(samples: np.ndarray, rate: int) -> list[tuple[float, float]]:
    """Where samples are not 0."""
    edges = np.flatnonzero(np.diff((samples != 0).astype(int), prepend=0, append=0))
    return [(start / rate, end / rate) for start, end in edges.reshape(-1, 2)]


def found_in(
    audio: torch.Tensor, gate: Any, piece: int = 7 * RATE
) -> tuple[torch.Tensor, list[tuple[float, float]]]:
    spans: list[tuple[float, float]] = []
    pieces = []
    for samples, found in find_speech(audio.split(piece), gate):
        pieces.append(samples)
        for span in found:
            append_span(spans, span)
    return torch.cat(pieces), spans


def test_spans_are_on_the_recordings_clock_and_joined_across_pieces() -> None:
    audio = torch.zeros(100 * RATE)
    expected = [(3.0, 5.0), (29.0, 31.5), (45.0, 95.0), (99.5, 100.0)]
    for start, end in expected:
        audio[round(start * RATE) : round(end * RATE)] = 0.5
    passed, spans = found_in(audio, loud_spans)
    assert torch.equal(passed, audio)
    assert spans == [pytest.approx(span) for span in expected]


@pytest.mark.parametrize("piece", [999, 5 * RATE, 200 * RATE])
def test_the_pieces_that_come_in_do_not_matter(piece: int) -> None:
    heard: list[int] = []

    def gate(samples: np.ndarray, rate: int) -> list[tuple[float, float]]:
        heard.append(len(samples))
        assert rate == RATE
        assert samples.dtype == np.float32
        return []

    audio = torch.ones(75 * RATE)
    passed, _ = found_in(audio, gate, piece)
    assert torch.equal(passed, audio)
    # 30 s, with 2 s of what is before and after; of the last 15 s, more of what is before.
    assert heard == [32 * RATE, 34 * RATE, 34 * RATE]


@pytest.mark.parametrize(
    "spans",
    [
        [(16_000, 48_000)],
        [(2.0, 1.0)],
        [(float("nan"), 1.0)],
        [(-3.0, 1.0)],
        [{"start": 0, "end": 1}],
        [1.0, 2.0],
        None,
    ],
)
def test_a_gate_that_gives_no_seconds_is_refused(spans: Any) -> None:
    with pytest.raises(ValueError, match=r"vad: found .*seconds"):
        found_in(torch.ones(5 * RATE), lambda samples, rate: spans)


def test_overlapping_and_unordered_spans_are_one() -> None:
    _, spans = found_in(
        torch.ones(10 * RATE), lambda samples, rate: [(5, 7), (1, 2), (6, 10.05), (1.5, 1.8)]
    )
    assert spans == [(1, 2), (5, 10)]


def test_no_audio_is_no_piece() -> None:
    assert list(find_speech([], loud_spans)) == []


def test_spans_within() -> None:
    spans = [(1.0, 2.0), (3.0, 5.0), (8.0, 9.0)]
    assert spans_within(spans, 1.5, 4.0) == [(1.5, 2.0), (3.0, 4.0)]
    assert spans_within(spans, 5.0, 8.0) == []
    assert spans_within(spans, 3.2, 3.4) == [(3.2, 3.4)]
    assert spans_within(spans, 0.0, 99.0) == spans
    assert spans_within([], 0.0, 1.0) == []
    assert seconds_of(spans) == 4.0
