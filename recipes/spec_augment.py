# SPDX-License-Identifier: Apache-2.0
"""SpecAugment on cached frames (Park et al. 2019, arXiv 1904.08779), clip by clip."""

import torch
from torch import Tensor

from voxadapt.recipes.finetune_options import SpecAugmentOptions


def draw_spec_augment(
    length: int,
    feature_size: int,
    options: SpecAugmentOptions,
    generator: torch.Generator,
    *,
    period: int | None = None,
) -> Tensor:
    """Draw what to hide of one clip.

    Args:
        length: Real frames ``T``.
        feature_size: Features ``D``.
        options: How much to hide.
        generator: Source of randomness, seeded per clip.
        period: Features after which bands repeat: the number of Mels where a frame is several
            log-Mel frames side by side, so that a band is hidden in all of them. ``D`` by default.

    Returns:
        ``[T, D]`` bool, True = hidden.
    """
    period = period or feature_size
    hidden = torch.zeros(length, feature_size, dtype=torch.bool)
    for _ in range(options.time_masks):
        start, end = draw_stretch(length, options.time_share, generator)
        hidden[start:end] = True
    bands = hidden.view(length, feature_size // period, period)
    for _ in range(options.feature_masks):
        start, end = draw_stretch(period, options.feature_share, generator)
        bands[:, :, start:end] = True
    return hidden


def draw_stretch(size: int, share: float, generator: torch.Generator) -> tuple[int, int]:
    """A stretch of 0 to ``share × size`` places, anywhere; its start and end."""
    width = int(torch.randint(0, int(size * share) + 1, (1,), generator=generator))
    start = int(torch.randint(0, size - width + 1, (1,), generator=generator))
    return start, start + width
