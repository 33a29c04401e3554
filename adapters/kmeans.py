# SPDX-License-Identifier: Apache-2.0
"""k-means in torch: Lloyd's iterations over frames in memory, on a CPU or an accelerator."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .dense import linear

# Frames that the first centroids are drawn from, for each centroid. More give no lower inertia, and
# the draw goes over them once for every centroid.
SEEDING_FRAMES = 32
# Scores (frames × centroids) in memory at once: they stay in a CPU's cache; a GPU wants more work.
SCORES = {"cpu": 1 << 20}
SCORES_ELSEWHERE = 1 << 25
# How far the halves of a split cluster start from its centroid, of the way to one of its frames.
SPLIT = 0.1
# Squared distances so small beside the frames' squares are what the mean of copies is off by.
ROUNDING = 1e-10


@dataclass(frozen=True)
class KMeansFit:
    """What `fit_kmeans` gives.

    Attributes:
        centroids: ``[K, D]`` float32, on the frames' device.
        reseeded: How many times a centroid without frames was moved to where frames are.
    """

    centroids: Tensor
    reseeded: int


@torch.no_grad()
def fit_kmeans(frames: Tensor, initial: Tensor, *, seed: int, iterations: int = 20) -> KMeansFit:
    """Run Lloyd's iterations from given centroids, until no frame changes its cluster.

    All of it is exact in float32. In bfloat16 the iterations are a quarter faster on a CPU that has
    it, but what rounds differently on one process and on two would move frames to other clusters,
    and more frames after them.

    A centroid keeps its row. One that has lost all its frames takes half of those of the cluster
    with the largest sum of squared distances; by frames alone, the largest may be copies of one
    frame, as of digital silence, which cannot be split.

    Args:
        frames: ``[N, D]`` float32, finite.
        initial: ``[K, D]`` float32, such as `seed_centroids` draws.
        seed: Seed of the directions in which clusters are split.
        iterations: The most iterations.

    Returns:
        The centroids. The same arguments on the same device give the same bits.
    """
    generator = torch.Generator().manual_seed(seed)
    mean = frames.mean(dim=0)
    centroids = initial.to(frames, copy=True)
    ids, reseeded = None, 0
    for _ in range(iterations):
        before = ids
        ids, sums, counts = _assign_and_sum(frames, centroids, mean)
        used = counts > 0
        centroids[used] = sums[used] / counts[used, None]
        moved = _split_for_empty(frames, ids, centroids, counts, generator)
        reseeded += moved
        if before is not None and not moved and torch.equal(ids, before):
            break
    return KMeansFit(centroids, reseeded)


@torch.no_grad()
def seed_centroids(frames: Tensor, clusters: int, *, seed: int) -> Tensor:
    """Draw first centroids by k-means++ (Arthur and Vassilvitskii 2007) from a sample of frames.

    Each next centroid is a frame, drawn by its squared distance to the nearest one so far. We draw
    from a sample of `SEEDING_FRAMES` for each centroid; of all frames it would take longer than the
    iterations after it.

    Args:
        frames: ``[N, D]`` float32, at least ``clusters``.
        clusters: Centroids ``K``.
        seed: Seed of the sample and of the draws.

    Returns:
        ``[K, D]``.
    """
    generator = torch.Generator().manual_seed(seed)
    sample = frames
    if len(frames) > SEEDING_FRAMES * clusters:
        rows = torch.randperm(len(frames), generator=generator)[: SEEDING_FRAMES * clusters]
        sample = frames[rows.to(frames.device)]
    centered = sample - sample.mean(dim=0)
    norms = centered.square().sum(dim=1)
    distances = torch.zeros_like(norms)  # none yet: the first draw is from all alike
    chosen: list[int] = []
    for draw in torch.rand(clusters, generator=generator).tolist():
        chosen.append(_draw(distances, draw))
        added = norms - 2.0 * (centered @ centered[chosen[-1]]) + norms[chosen[-1]]
        added = added.clamp_(min=0.0)
        distances = added if len(chosen) == 1 else torch.minimum(distances, added)
    return sample[torch.tensor(chosen, device=frames.device)]


@torch.no_grad()
def nearest(frames: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Assign frames to their nearest centroids, exactly.

    Args:
        frames: ``[N, D]`` float32.
        centroids: ``[K, D]`` float32.

    Returns:
        Ids ``[N]`` int64, and squared distances ``[N]`` to them.
    """
    mean = frames.mean(dim=0)
    ids, distances = [], []
    for chunk in frames.split(_rows(frames, centroids)):
        found = _scores(chunk, centroids, mean).argmin(dim=1)
        ids.append(found)
        distances.append((chunk - centroids[found]).square().sum(dim=1))
    return torch.cat(ids), torch.cat(distances)


def _assign_and_sum(
    frames: Tensor, centroids: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids ``[N]`` of the nearest centroids; sum ``[K, D]`` and count ``[K]`` of their frames."""
    sums, clusters = torch.zeros_like(centroids), len(centroids)
    ids = []
    for chunk in frames.split(_rows(frames, centroids)):
        found = _scores(chunk, centroids, mean).argmin(dim=1)
        ids.append(found)
        if frames.device.type == "cpu":
            sums.index_add_(0, found, chunk)
        else:  # adds in no fixed order there
            sums += F.one_hot(found, clusters).to(chunk.dtype).T @ chunk
    all_ids = torch.cat(ids)
    return all_ids, sums, torch.bincount(all_ids, minlength=clusters)


def _scores(chunk: Tensor, centroids: Tensor, mean: Tensor) -> Tensor:
    """Squared distances ``[N, K]`` up to a constant for each frame, relative to a point ``[D]``."""
    # |x - c|² = |x - m|² - 2 (x - m)·(c - m) + |c - m|², and the first is the same for every c.
    # Without m, float32 would lose digits where frames lie far from zero.
    shifted = centroids - mean
    offset = shifted.square().sum(dim=1) + 2.0 * shifted @ mean
    return linear(chunk, -2.0 * shifted, offset)


def _split_for_empty(
    frames: Tensor, ids: Tensor, centroids: Tensor, counts: Tensor, generator: torch.Generator
) -> int:
    """Give every centroid without frames half of a cluster; return how many could be given one."""
    empty = (counts == 0).nonzero().flatten().tolist()
    if not empty:
        return 0
    distances = torch.cat(
        [
            (chunk - centroids[found]).square().sum(dim=1)
            for chunk, found in zip(
                frames.split(_rows(frames, centroids)),
                ids.split(_rows(frames, centroids)),
                strict=True,
            )
        ]
    )
    spread = torch.bincount(ids.cpu(), weights=distances.cpu(), minlength=len(centroids))  # [K]
    moved = 0
    for row in empty:
        largest = int(spread.argmax())
        members = (ids == largest).nonzero().flatten()
        if spread[largest] <= ROUNDING * float(frames[members].square().sum()):
            break  # all frames lie on centroids: there is nothing to split
        draw = float(torch.rand((), generator=generator))
        member = frames[members[_draw(distances[members], draw)]]
        # The plane between the two goes through the centroid: each gets a part of the frames.
        step = SPLIT * (member - centroids[largest])
        centroids[row] = centroids[largest] + step
        centroids[largest] -= step
        spread[largest] /= 4  # in case that there are more empty centroids than clusters as large
        moved += 1
    return moved


def _draw(weights: Tensor, draw: float) -> int:
    """An index drawn by weight ``[N]``, given a number in 0..1; by index where all are zero."""
    cumulated = weights.cpu().double().cumsum(dim=0)
    if cumulated[-1] <= 0:
        return min(int(draw * len(weights)), len(weights) - 1)
    found = int(torch.searchsorted(cumulated, draw * cumulated[-1], right=True))
    return min(found, len(weights) - 1)


def _rows(frames: Tensor, centroids: Tensor) -> int:
    """Frames to look at in one go."""
    scores = SCORES.get(frames.device.type, SCORES_ELSEWHERE)
    return max(256, scores // len(centroids) // 64 * 64)
