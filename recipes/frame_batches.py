# SPDX-License-Identifier: Apache-2.0
"""From cached frames to padded batches, the same whatever the number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxadapt.recipes.corpora.batching import share_batch
from voxadapt.recipes.corpora.feature_cache import FeatureStore


@dataclass
class FrameBatch:
    """Frames of several clips.

    Attributes:
        indices: The clips, as the feature store numbers them.
        frames: ``[B, T, D]`` float32.
        padding_mask: ``[B, T]`` bool, True = padding.
        clip_weights: ``[B]`` float32, 0 for a clip that only fills a process's empty share.
    """

    indices: list[int]
    frames: Tensor
    padding_mask: Tensor
    clip_weights: Tensor


def load_batch(
    store: FeatureStore, indices: Sequence[int], *, device: torch.device, is_filler: bool = False
) -> FrameBatch:
    """Read clips from the store and pad them to the longest."""
    lengths = store.lengths[list(indices)]
    frames = np.zeros((len(indices), int(lengths.max()), store.feature_size), dtype=np.float32)
    for row, index in enumerate(indices):
        frames[row, : lengths[row]] = store.frames(index)
    padding_mask = np.arange(frames.shape[1]) >= lengths[:, None]
    weight = 0.0 if is_filler else 1.0
    return FrameBatch(
        indices=list(indices),
        frames=torch.from_numpy(frames).to(device),
        padding_mask=torch.from_numpy(padding_mask).to(device),
        clip_weights=torch.full((len(indices),), weight, device=device),
    )


def load_shares(
    store: FeatureStore,
    batch: list[int],
    *,
    rank: int,
    world: int,
    accumulate: int,
    device: torch.device,
) -> list[FrameBatch]:
    """Read this process's parts of a global batch, one for each accumulated forward pass.

    A global batch is what one optimiser step sees; it is dealt out over ``world × accumulate``
    parts, so that neither number changes which clips a step learns from.
    """
    parts = []
    for turn in range(accumulate):
        indices, is_filler = share_batch(batch, turn * world + rank, accumulate * world)
        parts.append(load_batch(store, indices, device=device, is_filler=is_filler))
    return parts


def corpus_statistics(
    store: FeatureStore, indices: Sequence[int], *, seed: int, max_frames: int = 2_000_000
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature over clips.

    Args:
        store: The frames.
        indices: The clips to use; only ever the training part.
        seed: Seed of the sample.
        max_frames: Clips are drawn until this many frames are read, so that time and memory stay
            bounded however large the corpus is.

    Returns:
        ``[D]`` mean and ``[D]`` standard deviation, float32.
    """
    total = np.zeros(store.feature_size)
    squares = np.zeros(store.feature_size)
    count = 0
    for index in np.random.default_rng(seed).permutation(np.asarray(indices)):
        frames = store.frames(int(index)).astype(np.float64)
        total += frames.sum(axis=0)
        squares += np.square(frames).sum(axis=0)
        count += len(frames)
        if count >= max_frames:
            break
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
