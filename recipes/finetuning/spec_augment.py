# SPDX-License-Identifier: Apache-2.0
"""SpecAugment on cached frames (Park et al. 2019, arXiv 1904.08779), clip by clip."""

from collections.abc import Sequence

import torch
from torch import Tensor

from voxadapt.adapters import draw_feature_mask
from voxadapt.adapters.masking import draw_stretch
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.finetuning.options import SpecAugmentOptions


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


def draw_batch_augment(
    clip_ids: Sequence[str],
    padding_mask: Tensor,
    feature_size: int,
    options: SpecAugmentOptions,
    seed: int,
    turns: Sequence[int],
    *,
    period: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw what to hide of each clip of a batch, from (seed, turn, clip id).

    Hidden features are to stand at the corpus mean. Hidden time is left to the adapter, as in
    pretraining: a pretrained one knows its mask embedding, and takes frames of zeros for something
    heard.

    Args:
        clip_ids: Ids of the ``B`` clips.
        padding_mask: ``[B, T]`` bool, True = padding.
        feature_size: Features ``D`` of the adapter's input.
        options: How much to hide.
        seed: The run's seed.
        turns: Of each clip the epoch, or what else tells repeated draws for it apart.
        period: Features after which bands repeat (see `draw_feature_mask`).

    Returns:
        ``[B, T]`` and ``[B, D]`` bool on the device of ``padding_mask``, True = hidden: frames, and
        features of the whole clip.
    """
    span_mask = torch.zeros(padding_mask.shape, dtype=torch.bool)
    feature_mask = torch.zeros(len(clip_ids), feature_size, dtype=torch.bool)
    lengths = (~padding_mask).sum(dim=1).tolist()
    for row, (clip_id, turn, length) in enumerate(zip(clip_ids, turns, lengths, strict=True)):
        clip_seed = stable_seed(seed, "augment", turn, clip_id)
        span_mask[row, :length], feature_mask[row] = draw_spec_augment(
            length,
            feature_size,
            options,
            torch.Generator().manual_seed(clip_seed),
            period=period,
        )
    return span_mask.to(padding_mask.device), feature_mask.to(padding_mask.device)
