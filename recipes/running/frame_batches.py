# SPDX-License-Identifier: Apache-2.0
"""From cached or fresh frames to padded batches, the same whatever the number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxadapt.recipes.corpora.batching import share_batch
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.corpora.online_frames import OnlineFrames

Store = FeatureStore | OnlineFrames

# Steps whose audio is decoded while another one trains; it bounds the memory.
STEPS_AHEAD = 3
STATISTICS_FRAMES = 2_000_000
"""Frames that statistics are taken from, where they are cached; reading them takes a minute."""
# 33 minutes of audio, for statistics of frames that have to be computed for them.
ONLINE_STATISTICS_FRAMES = 100_000


@dataclass
class FrameBatch:
    """Frames of several clips.

    Attributes:
        indices: The clips, as the feature store numbers them.
        frames: ``[B, T, D]`` float32.
        padding_mask: ``[B, T]`` bool, True = padding.
        clip_weights: ``[B]`` float32, 0 for a clip that only fills a process's empty share, and for
            one that was to be encoded here and could not be read.
        student_frames: ``[B, T, D]`` float32, frames of the student's audio; None where it is the
            same audio.
    """

    indices: list[int]
    frames: Tensor
    padding_mask: Tensor
    clip_weights: Tensor
    student_frames: Tensor | None = None


def load_batch(
    store: Store,
    indices: Sequence[int],
    *,
    device: torch.device,
    is_filler: bool = False,
    epoch: int | None = None,
) -> FrameBatch:
    """Read clips from the store, or encode them, and pad them to the longest.

    Args:
        store: The frames.
        indices: The clips.
        device: Where the frames go.
        is_filler: Whether the clips only fill a process's empty share.
        epoch: The epoch whose augmentation clips get that are encoded here; None for clean audio.
    """
    if isinstance(store, OnlineFrames):
        encoded = store.load(indices, epoch)
        return FrameBatch(
            indices=list(indices),
            frames=encoded.frames.to(device),
            padding_mask=encoded.padding_mask.to(device),
            clip_weights=(encoded.usable.float() * (0.0 if is_filler else 1.0)).to(device),
            student_frames=encoded.student_frames,
        )
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
    store: Store,
    batch: list[int],
    *,
    rank: int,
    world: int,
    passes: int,
    device: torch.device,
    epoch: int | None = None,
) -> list[FrameBatch]:
    """Read this process's share of a global batch, dealt out over forward passes.

    A global batch is what one optimiser step sees. Neither the number of processes nor the number
    of passes changes which clips those are.

    Args:
        store: The frames.
        batch: The clips of the global batch.
        rank: This process, from 0.
        world: The number of processes.
        passes: Forward passes; clips of alike lengths go together, to save padding.
        device: Where the frames go.
        epoch: As for `load_batch`.

    Returns:
        One batch for each pass, at least one and at most ``passes``.
    """
    share, is_filler = share_by_length(store, batch, rank, world)
    return [
        load_batch(store, part, device=device, is_filler=is_filler, epoch=epoch)
        for part in cut_evenly(share, store.lengths[share], passes)
    ]


def share_by_length(
    store: Store, batch: list[int], rank: int, world: int
) -> tuple[list[int], bool]:
    """As `share_batch`, of the batch sorted by length, so that every process has long and short."""
    by_length = sorted(batch, key=lambda index: (-store.lengths[index], index))
    return share_batch(by_length, rank, world)


def read_ahead(
    store: Store, batches: Sequence[list[int]], first: int, *, rank: int, world: int, epoch: int
) -> None:
    """Let the audio of the next few batches be decoded meanwhile; cached frames need no such thing.

    Args:
        store: The frames.
        batches: The batches of the epoch.
        first: The next one.
        rank: This process, from 0.
        world: The number of processes.
        epoch: The epoch.
    """
    if isinstance(store, OnlineFrames):
        for batch in batches[first : first + 1 + STEPS_AHEAD]:
            store.read_ahead(share_by_length(store, batch, rank, world)[0], epoch)


def cut_evenly(indices: list[int], lengths: np.ndarray, parts: int) -> list[list[int]]:
    """Cut a list into at most ``parts`` runs of about the same total length, none empty."""
    middles = np.cumsum(lengths) - lengths / 2
    part = np.minimum((middles * parts / lengths.sum()).astype(int), parts - 1)
    starts = np.flatnonzero(np.diff(part)) + 1
    return [run.tolist() for run in np.split(np.asarray(indices), starts)]


def corpus_statistics(
    store: Store, indices: Sequence[int], *, seed: int, max_frames: int = STATISTICS_FRAMES
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature over clips.

    Args:
        store: The frames.
        indices: The clips to use; only ever the training part.
        seed: Seed of the sample.
        max_frames: Clips are drawn until this many frames are read, so that time and memory stay
            bounded however large the corpus is. Of frames computed online, a twentieth is enough:
            100,000 by default.

    Returns:
        ``[D]`` mean and ``[D]`` standard deviation, float32.
    """
    if isinstance(store, OnlineFrames):
        max_frames = -(-max_frames * ONLINE_STATISTICS_FRAMES // STATISTICS_FRAMES)
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
