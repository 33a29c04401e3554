# SPDX-License-Identifier: Apache-2.0
"""Masks over frames and over features, drawn clip by clip."""

import torch
from torch import Tensor


def draw_span_mask(
    length: int, *, ratio: float, span_length: int, generator: torch.Generator
) -> Tensor:
    """Draw spans of frames to hide from the student, until a share of the clip is hidden.

    Spans start anywhere and may overlap, as in wav2vec 2.0 (arXiv 2006.11477, section 3.1); unlike
    there, they are drawn until ``ratio`` of this clip is reached, never fall into padding, and a
    clip shorter than two spans gets a shorter one, so that it keeps something to predict from. The
    mask depends on the generator alone, not on the batch, so that neither batching nor the number
    of processes can change it.

    Args:
        length: Real frames of the clip.
        ratio: Share of frames to hide, above 0 and below 1. The last span may overshoot it.
        span_length: Frames of one span.
        generator: Source of randomness, seeded per clip.

    Returns:
        ``[length]`` bool, True = hidden. A clip of one frame comes back unhidden: there would be
        nothing left to predict from.

    Raises:
        ValueError: An argument is out of range.
    """
    if length < 1 or span_length < 1 or not 0.0 < ratio < 1.0:
        raise ValueError(
            f"length, span_length, ratio: found {length}, {span_length}, {ratio}; expected at "
            "least 1, at least 1, and between 0 and 1"
        )
    if length == 1:
        return torch.zeros(1, dtype=torch.bool)
    span = min(span_length, length // 2)
    target = min(max(1, round(ratio * length)), length - 1)
    hidden = bytearray(length)
    hidden_frames = 0
    for start in torch.randperm(length - span + 1, generator=generator).tolist():
        newly_hidden = hidden[start : start + span].count(0)
        if hidden_frames + newly_hidden == length:
            continue  # would leave nothing to predict from
        hidden[start : start + span] = b"\x01" * span
        hidden_frames += newly_hidden
        if hidden_frames >= target:
            break
    return torch.tensor(list(hidden), dtype=torch.bool)


def draw_feature_mask(
    feature_size: int,
    *,
    masks: int,
    share: float,
    generator: torch.Generator,
    period: int | None = None,
) -> Tensor:
    """Draw bands of features to hide throughout a clip (SpecAugment, arXiv 1904.08779).

    Args:
        feature_size: Features ``D``.
        masks: Bands to draw; they may overlap.
        share: Widest band, as a share of the features; each width up to it is as likely.
        generator: Source of randomness, seeded per clip.
        period: Features after which bands repeat: the number of Mels where a frame is several
            log-Mel frames side by side, so that a band is hidden in all of them. ``D`` by default.

    Returns:
        ``[D]`` bool, True = hidden.

    Raises:
        ValueError: ``period`` does not divide ``D``.
    """
    period = period or feature_size
    if feature_size % period:
        raise ValueError(f"period: found {period}, must divide the {feature_size} features")
    hidden = torch.zeros(feature_size // period, period, dtype=torch.bool)
    for _ in range(masks):
        start, end = draw_stretch(period, share, generator)
        hidden[:, start:end] = True
    return hidden.flatten()


def draw_stretch(size: int, share: float, generator: torch.Generator) -> tuple[int, int]:
    """A stretch of 0 to ``share × size`` places, anywhere; its start and end."""
    width = int(torch.randint(0, int(size * share) + 1, (1,), generator=generator))
    start = int(torch.randint(0, size - width + 1, (1,), generator=generator))
    return start, start + width
