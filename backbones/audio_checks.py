# SPDX-License-Identifier: Apache-2.0
"""What audio must be like to be used, and the error where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Rates outside are headers gone wrong: a file that claims 1 Hz would grow 16,000-fold in memory.
_LOWEST_RATE, _HIGHEST_RATE = 2_000, 768_000
# Half a step of 16-bit audio. Below it there is nothing that could be heard or learnt from.
_SILENCE = 0.5 / 32_768
# Unscaled 16-bit floats (32,768) pass, but samples like 1e29 would overflow in a power spectrum.
HIGHEST_SAMPLE = 1e6


class AudioError(ValueError):
    """Audio that cannot be used.

    Attributes:
        path: The file, or a name for samples that came from memory.
        reason: A short name to group by: `missing`, `unreadable`, `truncated`, `empty`, `silent`,
            `not finite`, `too short` or `out of range`.
    """

    def __init__(self, path: str, reason: str, message: str) -> None:
        # All three go to `args`, so that the error survives pickling between processes.
        super().__init__(path, reason, message)
        self.path = path
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def check_rate(name: str, rate: int) -> None:
    """Refuse a sample rate (Hz) that no recording has.

    Args:
        name: What the error message calls the audio.
        rate: Samples per second (Hz).

    Raises:
        AudioError: The rate is out of range.
    """
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise AudioError(
            name,
            "out of range",
            f"{name} has a sample rate of {rate} Hz, but {_LOWEST_RATE} to {_HIGHEST_RATE} Hz is "
            "allowed: its header is probably wrong, so write it again with the right rate.",
        )


def check_content(
    samples: Tensor, rate: int, name: str, minimum_seconds: float, cancels: bool = False
) -> None:
    """Refuse mono samples `[S]` that nothing can be learnt from.

    Args:
        samples: Samples at their own rate.
        rate: Samples per second (Hz).
        name: What the error message calls them.
        minimum_seconds: A shorter clip is refused.
        cancels: Whether there was sound in the channels before they were averaged.

    Raises:
        AudioError: They are empty, too short, not finite, out of range or silent.
    """
    finite = bool(torch.isfinite(samples).all())
    lowest, highest = torch.aminmax(samples) if len(samples) else (0.0, 0.0)
    found = SampleRange(len(samples), finite, float(lowest), float(highest))
    check_range(found, rate, name, minimum_seconds, cancels)


@dataclass(frozen=True)
class SampleRange:
    """What `check_range` needs to know of samples, so that they need not be in memory at once.

    Attributes:
        count: How many there are.
        finite: Whether all of them are numbers.
        lowest: The lowest; unused where not all are finite.
        highest: The highest.
    """

    count: int
    finite: bool
    lowest: float
    highest: float

    @property
    def silent(self) -> bool:
        """Whether they are one constant: an offset alone cannot be heard."""
        return self.highest - self.lowest < _SILENCE


def check_range(
    samples: SampleRange, rate: int, name: str, minimum_seconds: float, cancels: bool = False
) -> None:
    """Refuse what `check_content` refuses, given what is known of the samples.

    Args:
        samples: Number and range of the mono samples.
        rate: Samples per second (Hz).
        name: What the error message calls them.
        minimum_seconds: A shorter clip is refused.
        cancels: Whether there was sound in the channels before they were averaged.

    Raises:
        AudioError: They are empty, too short, not finite, out of range or silent.
    """
    if not samples.count:
        raise AudioError(
            name, "empty", f"{name} has no samples: it was cut off, or recorded nothing."
        )
    if samples.count / rate < minimum_seconds - 1e-9:
        raise AudioError(
            name,
            "too short",
            f"{name} has {samples.count / rate:.4f} s, but at least {minimum_seconds} s is needed: "
            "leave it out, or join it to its neighbour.",
        )
    if not samples.finite:
        raise AudioError(
            name, "not finite", f"{name} has NaN or infinite samples: export it again."
        )
    peak = max(-samples.lowest, samples.highest)
    if peak > HIGHEST_SAMPLE:
        raise AudioError(
            name,
            "out of range",
            f"{name} has samples up to {peak:.3g}, but about -1..1 is expected: scale it.",
        )
    if samples.silent:
        why = "its channels cancel out in their mean" if cancels else "its samples are all the same"
        raise AudioError(
            name,
            "silent",
            f"{name} is silent ({why}): leave it out, or export it again"
            f"{' from one channel' if cancels else ''}.",
        )


def is_silent(samples: Tensor) -> bool:
    """Whether samples `[..., S]` are one constant: an offset alone cannot be heard."""
    if not samples.numel():
        return True
    return bool(samples.max() - samples.min() < _SILENCE)
