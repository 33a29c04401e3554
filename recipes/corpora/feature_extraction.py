# SPDX-License-Identifier: Apache-2.0
"""Runs a frozen backbone over clips and writes what comes out, shard by shard."""

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from voxadapt.backbones.audio import SAMPLE_RATE, AudioError, read_audio
from voxadapt.backbones.base import Backbone, pad_waveforms
from voxadapt.recipes.corpora.batching import plan_batches
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import READERS
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_shards import write_shard

SHARD_SECONDS = 600.0
SHARD_CLIPS = 512
"""A shard is full with so much audio or so many clips: the most that a kill can cost."""

_BATCHES_AHEAD = 3


@dataclass(frozen=True, slots=True)
class KeyedClip:
    """A clip to extract.

    Attributes:
        key: What its features are stored under.
        clip: The clip.
        seconds: Its length as far as it is known before decoding.
    """

    key: str
    clip: Clip
    seconds: float


class _Decoded(NamedTuple):
    shard: int
    planned: int  # clips before those were left out that cannot be read
    clips: list[KeyedClip]
    waveforms: list[Tensor]  # each [S]


def plan_shards(clips: Iterable[KeyedClip]) -> list[list[KeyedClip]]:
    """Divide clips into shards, in the order of their keys: the same on every process.

    Args:
        clips: All clips of the corpus, each key once. Those already extracted belong here too: a
            plan of what is left would change while other processes work, and batches, and with
            them the last bit of a feature, would depend on where an earlier run was killed.
    """
    shards: list[list[KeyedClip]] = []
    seconds = 0.0
    for keyed in sorted(clips, key=lambda keyed: keyed.key):
        full = not shards or len(shards[-1]) == SHARD_CLIPS
        if full or seconds + keyed.seconds > SHARD_SECONDS:
            shards.append([])
            seconds = 0.0
        shards[-1].append(keyed)
        seconds += keyed.seconds
    return shards


def extract_shards(
    shards: Sequence[Sequence[KeyedClip]],
    backbone: Backbone,
    folder: Path,
    *,
    batch_seconds: float,
    device: str | torch.device,
    progress: bool,
) -> None:
    """Encode shards and write each as soon as it is done.

    Clips whose audio cannot be read are left out.

    Args:
        shards: What each shard is to hold.
        backbone: The frozen encoder, on `device`.
        folder: Where the shards are written.
        batch_seconds: Padded audio per batch (seconds).
        device: Where the backbone runs.
        progress: Whether to show a bar.

    Raises:
        DataError: If a clip's features are not finite, or too large for float16.
    """
    plan = _plan(shards, round(batch_seconds * SAMPLE_RATE))
    total = sum(len(shard) for shard in shards)
    bar = tqdm(total=total, desc="features", unit="clip", delay=3, disable=not progress)
    # While the backbone works on one batch, threads decode the next ones, also across shards.
    with bar, closing(_read_ahead(plan)) as decoded:
        for _, batches in groupby(decoded, key=lambda batch: batch.shard):
            features: dict[str, np.ndarray] = {}
            for batch in batches:
                features.update(_encode(batch, backbone, device))
                bar.update(batch.planned)
            if features:
                write_shard(folder, features)


def _plan(
    shards: Sequence[Sequence[KeyedClip]], budget: int
) -> Iterator[tuple[int, list[KeyedClip]]]:
    """Yield batches of clips of similar length, each with the number of its shard."""
    for number, shard in enumerate(shards):
        samples = [max(1, round(keyed.seconds * SAMPLE_RATE)) for keyed in shard]
        for batch in plan_batches(samples, max(1, budget), seed=None):
            yield number, [shard[index] for index in batch]


def _read_ahead(plan: Iterable[tuple[int, list[KeyedClip]]]) -> Generator[_Decoded, None, None]:
    """Decode in threads, a few batches ahead of whoever takes them."""
    pool = ThreadPoolExecutor(READERS)
    waiting: deque[tuple[int, list[KeyedClip], list[Future[Tensor | None]]]] = deque()
    try:
        for number, batch in plan:
            waiting.append((number, batch, [pool.submit(_read, keyed.clip) for keyed in batch]))
            if len(waiting) > _BATCHES_AHEAD:
                yield _collect(*waiting.popleft())
        while waiting:
            yield _collect(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _read(clip: Clip) -> Tensor | None:
    try:
        return read_audio(clip.path, start=clip.start, end=clip.end)
    except AudioError:
        # Not lost: a clip without features at the end is asked for its reason by feature_cache.
        return None


def _collect(
    shard: int, clips: list[KeyedClip], futures: list["Future[Tensor | None]"]
) -> _Decoded:
    read = [(keyed, future.result()) for keyed, future in zip(clips, futures, strict=True)]
    good = [(keyed, waveform) for keyed, waveform in read if waveform is not None]
    return _Decoded(
        shard, len(clips), [keyed for keyed, _ in good], [waveform for _, waveform in good]
    )


def _encode(
    batch: _Decoded, backbone: Backbone, device: str | torch.device
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each clip's key and frames [T, D] float16."""
    if not batch.clips:
        return
    waveforms, padding_mask = pad_waveforms(batch.waveforms)  # [B, S], [B, S]
    with torch.inference_mode():
        frames, frame_mask = backbone(waveforms.to(device), padding_mask.to(device))
        frames = frames.masked_fill(frame_mask[..., None], 0.0)  # [B, T, D]
        halves = frames.to(torch.float16)
        storable = torch.isfinite(halves).flatten(start_dim=1).all(dim=1).tolist()
        lengths = (~frame_mask).sum(dim=1).tolist()
    arrays = halves.cpu().numpy()
    for index, keyed in enumerate(batch.clips):
        if not storable[index]:
            raise _not_storable(frames[index], keyed.clip)
        # A copy, since a view would keep the padding of the whole batch in memory.
        yield keyed.key, arrays[index, : lengths[index]].copy()


def _not_storable(frames: Tensor, clip: Clip) -> DataError:
    largest = frames.abs().max().item()
    found = (
        f"values up to {largest:.3g}, and float16 holds up to 65504"
        if math.isfinite(largest)
        else "NaN or infinite values"
    )
    return DataError(
        f"the backbone's features of clip {clip.id!r} ({clip.path}) have {found}. Listen to the "
        "clip, and leave it out if it is damaged; if others fail too, take another layer or "
        "another backbone."
    )
