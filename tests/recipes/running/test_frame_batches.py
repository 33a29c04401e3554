# SPDX-License-Identifier: Apache-2.0
"""Cached frames become padded batches, dealt out over processes and passes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.backbones import load_backbone
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.online_frames import OnlineFrames
from voxadapt.recipes.corpora.waveform_augment import WaveformAugmentation
from voxadapt.recipes.running import frame_batches
from voxadapt.recipes.running.frame_batches import (
    corpus_statistics,
    cut_evenly,
    load_batch,
    load_shares,
    read_ahead,
)

CPU = torch.device("cpu")


def test_clips_are_padded_to_the_longest(make_store: Callable[..., Any]) -> None:
    store = make_store([3, 7, 5])
    batch = load_batch(store, [2, 0], device=CPU)
    assert batch.indices == [2, 0]
    assert batch.frames.dtype == torch.float32
    assert batch.frames.shape == (2, 5, 6)
    assert batch.padding_mask.tolist() == [[False] * 5, [False] * 3 + [True] * 2]
    for row, index in enumerate(batch.indices):
        real = batch.frames[row][~batch.padding_mask[row]].numpy()
        assert np.array_equal(real, store.frames(index).astype(np.float32))
    assert batch.frames[batch.padding_mask].eq(0).all()
    assert batch.clip_weights.tolist() == [1, 1]
    assert load_batch(store, [0], device=CPU, is_filler=True).clip_weights.tolist() == [0]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("passes", [1, 2, 4])
def test_every_clip_counts_once_whatever_processes_and_passes(
    world: int, passes: int, make_store: Callable[..., Any]
) -> None:
    store = make_store([3, 7, 5, 9, 4, 6])
    counted: list[int] = []
    for rank in range(world):
        parts = load_shares(
            store, [5, 1, 0, 3, 4], rank=rank, world=world, passes=passes, device=CPU
        )
        assert 1 <= len(parts) <= passes
        for part in parts:
            assert part.indices  # a process without clips runs one all the same
            counted += [
                index
                for index, weight in zip(part.indices, part.clip_weights, strict=True)
                if weight
            ]
    assert sorted(counted) == [0, 1, 3, 4, 5]


def test_clips_of_alike_lengths_share_a_pass(make_store: Callable[..., Any]) -> None:
    store = make_store([40, 4, 38, 5, 42, 3])
    parts = load_shares(store, list(range(6)), rank=0, world=1, passes=3, device=CPU)
    assert [part.indices for part in parts] == [[4], [0], [2, 3, 1, 5]]


def test_a_list_is_cut_into_even_runs_none_empty() -> None:
    assert cut_evenly([7, 8, 9, 6], np.array([1, 1, 1, 1]), 2) == [[7, 8], [9, 6]]
    assert cut_evenly([7], np.array([5]), 3) == [[7]]
    lengths = np.random.default_rng(0).integers(1, 100, 50)
    for parts in (1, 2, 5, 60):
        runs = cut_evenly(list(range(50)), lengths, parts)
        assert [index for run in runs for index in run] == list(range(50))
        assert all(runs)
        assert len(runs) <= parts
    sums = [lengths[run].sum() for run in cut_evenly(list(range(50)), lengths, 5)]
    assert max(sums) - min(sums) <= 2 * lengths.max()


def test_statistics_are_those_of_all_frames_of_the_clips_asked_for(
    make_store: Callable[..., Any],
) -> None:
    store = make_store([30, 40, 50])
    frames = np.concatenate([store.frames(index) for index in (0, 2)]).astype(np.float64)
    mean, std = corpus_statistics(store, [2, 0], seed=0)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-5)
    assert mean.dtype == std.dtype == torch.float32


def test_statistics_of_a_large_corpus_are_those_of_a_seeded_sample(
    make_store: Callable[..., Any],
) -> None:
    store = make_store([10] * 20)
    read = []
    frames = store.frames
    store.frames = lambda index: (read.append(index), frames(index))[1]
    mean, _ = corpus_statistics(store, range(20), seed=3, max_frames=45)
    assert len(read) == 5
    assert torch.equal(mean, corpus_statistics(store, range(20), seed=3, max_frames=45)[0])
    assert not torch.equal(mean, corpus_statistics(store, range(20), seed=4, max_frames=45)[0])


@pytest.fixture
def online(corpus_rows: list[dict[str, str]], tmp_path: Path) -> OnlineFrames:
    """Frames of nine clips computed on the spot, noisy for the student; the third is missing."""
    clips = [Clip(id=row["id"], path=Path(row["path"])) for row in corpus_rows[:9]]
    clips[2].path = tmp_path / "missing.wav"
    return OnlineFrames(
        clips,
        [8_000] * 9,
        load_backbone("fbank"),
        device=CPU,
        seed=0,
        augmentation=WaveformAugmentation(gain_db=[6, 6]),
        on_bad_audio="skip",
        listing=tmp_path / "bad_audio.jsonl",
    )


def test_frames_computed_on_the_spot_come_as_cached_ones_do(online: OnlineFrames) -> None:
    clean = load_batch(online, [0, 1], device=CPU)
    assert clean.student_frames is None
    loud = load_batch(online, [0, 2, 1], device=CPU, epoch=0)
    assert loud.indices == [0, 2, 1]
    assert torch.equal(loud.frames[[0, 2]], clean.frames)
    assert loud.student_frames is not None
    assert (loud.student_frames[0] > loud.frames[0]).any()
    assert loud.clip_weights.tolist() == [1, 0, 1]  # what cannot be read counts for nothing
    assert load_batch(online, [0], device=CPU, is_filler=True).clip_weights.tolist() == [0]
    (part,) = load_shares(online, [3, 4, 5], rank=1, world=2, passes=1, device=CPU, epoch=0)
    assert part.indices == [4]
    assert part.student_frames is not None


def test_a_process_reads_its_share_of_a_few_steps_ahead(
    online: OnlineFrames, make_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[int], int | None]] = []
    monkeypatch.setattr(online, "read_ahead", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(frame_batches, "STEPS_AHEAD", 1)
    batches = [[8], [0, 1, 3], [4], [5, 6]]
    for rank in (0, 1):
        read_ahead(online, batches, 1, rank=rank, world=2, epoch=7)
    assert asked == [([0, 3], 7), ([4], 7), ([1], 7), ([4], 7)]
    read_ahead(make_store([3, 4]), [[0], [1]], 0, rank=0, world=1, epoch=0)


def test_statistics_of_frames_computed_for_them_are_of_fewer(
    online: OnlineFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    frames = online.frames
    monkeypatch.setattr(online, "frames", lambda index: (read.append(index), frames(index))[1])
    corpus_statistics(online, [0, 1, 3, 4], seed=0)
    assert sorted(read) == [0, 1, 3, 4]
    read.clear()
    monkeypatch.setattr(frame_batches, "ONLINE_STATISTICS_FRAMES", 20)
    mean, _ = corpus_statistics(online, [0, 1, 3, 4], seed=0)
    assert len(read) < 3
    assert mean.isfinite().all()
    read.clear()
    corpus_statistics(
        online, [0, 1, 3, 4], seed=0, max_frames=frame_batches.STATISTICS_FRAMES // 20
    )
    assert len(read) == 1  # a corpus of many is read for its share
