# SPDX-License-Identifier: Apache-2.0
"""Mixup: clips trained on in mixture with others (Zhang et al. 2018, arXiv 1710.09412).

The paper mixes two images of one size. Clips differ in length, and recipes for speech mix what
happens to stand in one padded batch, so that the mixture depends on the batch. Here a clip's
partner is drawn from the whole training part by (seed, epoch, clip id) and read for it alone: the
frames of the partner, from a drawn point on and begun again where it ends, fill the clip's own
length. So neither the batch, the number of processes nor a resume changes a mixture. The clip whose
length it has keeps the larger share (as in MixMatch, arXiv 1905.02249).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.running.frame_batches import FrameBatch


@dataclass
class Mixture:
    """What the clips of a batch are mixed with.

    Attributes:
        partners: The other clips, as the feature store numbers them.
        shares: ``[B]`` float32, share of each clip itself, 0.5 to 1.
    """

    partners: list[int]
    shares: Tensor


def mix_batch(
    batch: FrameBatch,
    store: FeatureStore,
    clip_ids: Sequence[str],
    train: Sequence[int],
    *,
    alpha: float,
    seed: int,
    turns: Sequence[int],
) -> Mixture:
    """Mix the frames of a batch, in place.

    Args:
        batch: The clips.
        store: The frames.
        clip_ids: Ids of the batch's clips.
        train: The clips that partners are drawn from.
        alpha: Parameter of the Beta distribution that shares are drawn from; above 0.
        seed: The run's seed.
        turns: Of each clip the epoch, or what else tells repeated draws for it apart.
    """
    partners, shares = [], []
    lengths = (~batch.padding_mask).sum(dim=1).tolist()
    for row, (clip_id, turn, length) in enumerate(zip(clip_ids, turns, lengths, strict=True)):
        random = np.random.default_rng(stable_seed(seed, "mixup", turn, clip_id))
        partner = train[int(random.integers(len(train)))]
        share = random.beta(alpha, alpha)
        share = max(share, 1.0 - share)
        other = store.frames(partner)
        start = int(random.integers(len(other)))
        picked = other[(start + np.arange(length)) % len(other)].astype(np.float32)
        frames = batch.frames[row, :length]
        frames.mul_(share).add_(torch.from_numpy(picked).to(frames), alpha=1.0 - share)
        partners.append(partner)
        shares.append(share)
    device = batch.frames.device
    return Mixture(partners, torch.tensor(shares, dtype=torch.float32, device=device))
