# SPDX-License-Identifier: Apache-2.0
"""Audio cut into windows of one length as it goes by, none of them a sliver."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .backbones import SAMPLE_RATE


@dataclass(frozen=True)
class Window:
    """One window of a recording.

    Attributes:
        start: Where it begins (samples at 16 kHz).
        samples: ``[S]`` float32.
        stretch: From where to where (seconds) it stands for the recording: as far as it is the
            window whose middle is nearest. The stretches lie side by side and cover the recording.
    """

    start: int
    samples: Tensor
    stretch: tuple[float, float]

    @property
    def times(self) -> tuple[float, float]:
        """Where it begins and ends (seconds)."""
        return self.start / SAMPLE_RATE, (self.start + len(self.samples)) / SAMPLE_RATE


def cut_windows(pieces: Iterable[Tensor], size: int, hop: int) -> Iterator[Window]:
    """Cut audio into windows, each as soon as the one after it is there.

    Every sample is in a window, and all windows have one size: the last is moved back so that it
    ends where the audio ends, and then overlaps the one before by more than the others do. Audio
    shorter than a window is one window of its own length.

    Args:
        pieces: The audio in order, ``[S]`` each, at 16 kHz.
        size: Samples in a window.
        hop: Samples from one window's beginning to the next one's, at most `size`.
    """
    border = 0.0
    held: tuple[int, Tensor] | None = None
    for start, samples in _cut(pieces, size, hop):
        if held is not None:
            middles = (held[0] + len(held[1]) / 2, start + len(samples) / 2)
            end = sum(middles) / 2 / SAMPLE_RATE
            yield Window(*held, (border, end))
            border = end
        held = start, samples
    if held is not None:
        yield Window(*held, (border, (held[0] + len(held[1])) / SAMPLE_RATE))


def _cut(pieces: Iterable[Tensor], size: int, hop: int) -> Iterator[tuple[int, Tensor]]:
    """Where each window begins, and its samples."""
    held, begins = torch.empty(0), 0  # the samples that are still needed, and where they begin
    start = 0  # of the next window
    for piece in pieces:
        held = torch.cat([held, piece])
        while start + size <= begins + len(held):
            yield start, held[start - begins :][:size]
            start += hop
        # What the next window needs, and what the last one will, if it is moved back.
        keep = max(begins, min(start, begins + len(held) - size))
        held, begins = held[keep - begins :], keep
    end = begins + len(held)
    if start == 0:
        if end:
            yield 0, held
    elif start - hop + size < end:
        yield end - size, held[end - size - begins :]
