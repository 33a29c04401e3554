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

from voxadapt.backbones.audio import SAMPLE_RATE, AudioError, read_audio
from voxadapt.backbones.base import Backbone, pad_waveforms
from voxadapt.recipes.corpora.audio_progress import AudioProgress
from voxadapt.recipes.corpora.batching import padded_budget, plan_batches
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import READERS
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_shards import write_shard

SHARD_SECONDS = 600.0
SHARD_CLIPS = 512
"""A shard is full with so much audio or so many clips. A kill can cost two of them: the one that is
being filled, and the one before it if it is still being written."""

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


class _Batch(NamedTuple):
    """Clips of one shard, side by side."""

    clips: list[KeyedClip]
    waveforms: Tensor  # [B, S]
    padding_mask: Tensor  # [B, S]


class _Decoded(NamedTuple):
    """What became of a planned batch: one, or several where clips are longer than planned."""

    shard: int
    seconds: float  # as planned, and with the clips that were left out since they cannot be read
    batches: list[_Batch]


def plan_shards(clips: Iterable[KeyedClip]) -> list[list[KeyedClip]]:
    """Divide clips into shards, in the order of their keys: the same on every process.

    What lies in a container goes by its place there, so that a process reads on from where it is.

    Args:
        clips: All clips of the corpus, each key once. Those already extracted belong here too: a
            plan of what is left would change while other processes work, and batches, and with
            them the last bit of a feature, would depend on where an earlier run was killed.
    """
    shards: list[list[KeyedClip]] = []
    seconds = 0.0
    for keyed in sorted(clips, key=_order):
        full = not shards or len(shards[-1]) == SHARD_CLIPS
        if full or seconds + keyed.seconds > SHARD_SECONDS:
            shards.append([])
            seconds = 0.0
        shards[-1].append(keyed)
        seconds += keyed.seconds
    return shards


def _order(keyed: KeyedClip) -> tuple[str, int, str]:
    source = keyed.clip.source
    return (*(("", 0) if source is None else source.order), keyed.key)


def extract_shards(
    shards: Sequence[Sequence[KeyedClip]],
    backbone: Backbone,
    folder: Path,
    *,
    batch_seconds: float,
    device: str | torch.device,
    progress: bool,
    processes: int = 1,
) -> None:
    """Encode shards and write each as soon as it is done.

    Clips whose audio cannot be read are left out.

    Args:
        shards: What each shard is to hold.
        backbone: The frozen encoder, on `device`.
        folder: Where the shards are written.
        batch_seconds: Padded audio per batch (seconds). A clip that is longer is a batch of its
            own.
        device: Where the backbone runs.
        progress: Whether to show a bar, and to log the speed.
        processes: How many have a share of the work like this one's, for the bar's words.

    Raises:
        DataError: If a clip's features are not finite, or too large for float16.
        OSError: If a shard cannot be written.
    """
    budget = padded_budget(batch_seconds, SAMPLE_RATE)
    seconds = sum(keyed.seconds for shard in shards for keyed in shard)
    bar = AudioProgress(seconds, processes=processes, shown=progress)
    # While the backbone works on a batch, threads decode and pad the next ones, also across
    # shards, and one more waits for the disk.
    with bar, closing(_read_ahead(_plan(shards, budget), budget)) as decoded, _Writer() as writer:
        for _, parts in groupby(decoded, key=lambda part: part.shard):
            features: dict[str, np.ndarray] = {}
            for part in parts:
                for batch in part.batches:
                    features.update(_encode(batch, backbone, device))
                bar.update(part.seconds)
            if features:
                writer.write(folder, features)


class _Writer:
    """Writes shards in a thread, one at a time: bringing them to the disk takes a while."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def write(self, folder: Path, features: dict[str, np.ndarray]) -> None:
        """Wait for the last shard and begin with this one; raises what the last one raised."""
        self.wait()
        self._last = self._pool.submit(write_shard, folder, features)

    def wait(self) -> None:
        """Wait for the last shard."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:  # and not on the way out of another error, which it would hide
            self.wait()


def _plan(
    shards: Sequence[Sequence[KeyedClip]], budget: int
) -> Iterator[tuple[int, list[KeyedClip]]]:
    """Yield batches of clips of similar length, each with the number of its shard."""
    for number, shard in enumerate(shards):
        samples = [max(1, round(keyed.seconds * SAMPLE_RATE)) for keyed in shard]
        for batch in plan_batches(samples, budget, seed=None):
            yield number, [shard[index] for index in batch]


def _read_ahead(
    plan: Iterable[tuple[int, list[KeyedClip]]], budget: int
) -> Generator[_Decoded, None, None]:
    """Decode and pad in threads, a few batches ahead of whoever takes them."""
    # Padding waits for decoding, so it has a thread of its own that no decoding waits for.
    readers, padder = ThreadPoolExecutor(READERS), ThreadPoolExecutor(1)
    waiting: deque[Future[_Decoded]] = deque()
    try:
        for number, batch in plan:
            reads = [readers.submit(_read, keyed.clip) for keyed in batch]
            waiting.append(padder.submit(_pad, number, batch, reads, budget))
            if len(waiting) > _BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        padder.shutdown(cancel_futures=True)


def _read(clip: Clip) -> Tensor | None:
    try:
        return read_audio(clip.audio, start=clip.start, end=clip.end)
    except AudioError:
        # Not lost: a clip without features at the end is asked for its reason by feature_cache.
        return None


def _pad(
    shard: int, clips: list[KeyedClip], reads: list["Future[Tensor | None]"], budget: int
) -> _Decoded:
    read = [(keyed, future.result()) for keyed, future in zip(clips, reads, strict=True)]
    good = [(keyed, waveform) for keyed, waveform in read if waveform is not None]
    seconds = sum(keyed.seconds for keyed in clips)
    # Planned by what headers say; where they are wrong, a batch is cut until it fits the budget.
    samples = [len(waveform) for _, waveform in good]
    batches = [
        _Batch(
            [good[index][0] for index in indices],
            *pad_waveforms([good[index][1] for index in indices]),
        )
        for indices in plan_batches(samples, budget, seed=None)
    ]
    return _Decoded(shard, seconds, batches)


def _encode(
    batch: _Batch, backbone: Backbone, device: str | torch.device
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each clip's key and frames [T, D] float16."""
    with torch.inference_mode():
        frames, frame_mask = backbone(batch.waveforms.to(device), batch.padding_mask.to(device))
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
