# SPDX-License-Identifier: Apache-2.0
"""SpecAugment on cached frames (Park et al. 2019, arXiv 1904.08779), clip by clip."""

import torch
from torch import Tensor

from voxadapt.adapters import draw_feature_mask
from voxadapt.adapters.masking import draw_stretch
from voxadapt.recipes.finetune_options import SpecAugmentOptions


def draw_spec_augment(
    length: int,
    feature_size: int,
    options: SpecAugmentOptions,
    generator: torch.Generator,
    *,
    period: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw what to hide of one clip.

    Args:
        length: Real frames ``T``.
        feature_size: Features ``D``.
        options: How much to hide.
        generator: Source of randomness, seeded per clip.
        period: Features after which bands repeat (see `draw_feature_mask`).

    Returns:
        ``[T]`` bool and ``[D]`` bool, True = hidden: frames, and features of the whole clip.
    """
    span_mask = torch.zeros(length, dtype=torch.bool)
    for _ in range(options.time_masks):
        start, end = draw_stretch(length, options.time_share, generator)
        span_mask[start:end] = True
    feature_mask = draw_feature_mask(
        feature_size,
        masks=options.feature_masks,
        share=options.feature_share,
        generator=generator,
        period=period,
    )
    return span_mask, feature_mask
