# SPDX-License-Identifier: Apache-2.0
"""Where in a recording somebody speaks: gates, and how they are asked piece by piece."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .backbones import SAMPLE_RATE

Span = tuple[float, float]
"""From when to when (seconds)."""

Gate = Callable[[np.ndarray[Any, Any], int], Iterable[Span]]
"""Takes samples ``[S]`` float32 and their rate (Hz); gives spans of speech in seconds."""

_PIECE_SECONDS = 30.0
# What a gate hears of the neighbouring pieces, so that speech across a border is not cut there.
_MARGIN_SECONDS = 2.0


def find_speech(pieces: Iterable[Tensor], gate: Gate) -> Iterator[tuple[Tensor, list[Span]]]:
    """Ask a gate about 30 seconds after the other, with 2 s around each, and pass the audio on.

    Of the last part, which may be shorter, it hears 34 s too, if the recording has them. Where the
    pieces are cut depends on nothing but the audio's length, so neither the file's format nor a
    batch's size changes what is found.

    Args:
        pieces: The audio in order, ``[S]`` each, at 16 kHz.
        gate: What finds speech.

    Yields:
        The audio again, 30 s at a time, and the spans of speech in that part, in seconds from the
        beginning of the recording, in order and apart from one another.

    Raises:
        ValueError: The gate gives something else than spans, or spans outside of what it was given.
    """
    size, margin = round(_PIECE_SECONDS * SAMPLE_RATE), round(_MARGIN_SECONDS * SAMPLE_RATE)
    held, begins, place = torch.empty(0), 0, 0  # `place`: up to where speech has been looked for
    for piece in pieces:
        held = torch.cat([held, piece])
        while begins + len(held) >= place + size + margin:
            first = max(begins, place - margin)
            heard = held[first - begins : place + size + margin - begins]
            yield _ask(gate, heard, first, place, place + size)
            place += size
            keep = max(begins, place - size - margin)
            held, begins = held[keep - begins :], keep
    end = begins + len(held)
    if end > place:
        # Of a short rest a gate could not tell what is loud and what is quiet.
        first = max(begins, min(place - margin, end - size - 2 * margin))
        yield _ask(gate, held[first - begins :], first, place, end)


def _ask(
    gate: Gate, samples: Tensor, begins: int, start: int, end: int
) -> tuple[Tensor, list[Span]]:
    """The samples from `start` to `end`, and the speech in them."""
    first, last = start / SAMPLE_RATE, end / SAMPLE_RATE
    found: list[Span] = []
    for span in sorted(_checked(gate(samples.numpy(), SAMPLE_RATE), len(samples) / SAMPLE_RATE)):
        inside = (
            max(first, span[0] + begins / SAMPLE_RATE),
            min(last, span[1] + begins / SAMPLE_RATE),
        )
        if inside[0] < inside[1]:
            append_span(found, inside)
    return samples[start - begins : end - begins], found


def _checked(spans: Iterable[Span], seconds: float) -> Iterator[Span]:
    if not isinstance(spans, Iterable):
        raise ValueError(
            f"vad: found {spans!r}, give the spans of speech as pairs (start, end) in seconds, an "
            "empty list where there is none"
        )
    for span in spans:
        try:
            start, end = (float(time) for time in span)
        except (TypeError, ValueError):
            raise ValueError(
                f"vad: found {span!r} among its spans; give pairs (start, end) in seconds"
            ) from None
        # A little past the end is rounding; far past it, samples were meant.
        if not (math.isfinite(start) and -0.1 <= start <= end <= seconds + 0.1):
            raise ValueError(
                f"vad: found the span {start:g} to {end:g} s in {seconds:g} s of audio; give start "
                "<= end, in seconds (divide samples by the rate)"
            )
        yield start, end


def append_span(spans: list[Span], span: Span) -> None:
    """Add a span that begins no earlier than the last, joined to it where they touch."""
    if spans and span[0] <= spans[-1][1] + 1e-9:
        spans[-1] = spans[-1][0], max(spans[-1][1], span[1])
    else:
        spans.append(span)


def spans_within(spans: Sequence[Span], start: float, end: float) -> list[Span]:
    """The parts of spans, which are in order and apart, between two times (seconds)."""
    first = max(0, bisect_right(spans, start, key=lambda span: span[0]) - 1)
    found = []
    for span in spans[first : bisect_right(spans, end, key=lambda span: span[0])]:
        inside = max(start, span[0]), min(end, span[1])
        if inside[0] < inside[1]:
            found.append(inside)
    return found


def seconds_of(spans: Iterable[Span]) -> float:
    """How long spans are together (seconds)."""
    return sum(end - start for start, end in spans)
