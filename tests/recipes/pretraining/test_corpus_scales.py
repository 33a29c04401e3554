# SPDX-License-Identifier: Apache-2.0
"""Several corpora come to one scale, whatever the batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.pretraining.corpus_scales import CorpusScales, common_scale, corpus_name
from voxadapt.recipes.running.frame_batches import FrameBatch, load_batch

CPU = torch.device("cpu")


class TwoCorpora:
    """A store of four clips, the last two louder and stretched; the third feature is constant."""

    feature_size = 3

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.arrays = [rng.normal(size=(length, 3)).astype(np.float32) for length in (50, 70)]
        self.arrays += [
            (rng.normal(size=(length, 3)) * [5, 0.1, 1] + [20, -3, 0]).astype(np.float32)
            for length in (60, 40)
        ]
        for array in self.arrays:
            array[:, 2] = 7.0
        self.lengths = np.array([len(array) for array in self.arrays])

    def frames(self, index: int) -> np.ndarray:
        return self.arrays[index]


def clips(ids: list[str], **columns: list[str]) -> list[Clip]:
    rows = [{key: values[row] for key, values in columns.items()} for row in range(len(ids))]
    return [
        Clip(id=name, path=Path(name), columns=row) for name, row in zip(ids, rows, strict=True)
    ]


FROM_TWO = ["0:a", "0:b", "1:a", "1:b"]


def test_each_corpus_gets_the_common_mean_and_deviation() -> None:
    store: Any = TwoCorpora()
    mean, std, scales = common_scale(store, clips(FROM_TWO), manifests=2, seed=0)
    assert scales is not None
    everything = np.concatenate(store.arrays)
    np.testing.assert_allclose(mean, everything.mean(axis=0), rtol=1e-4)
    for rows in ([0, 1], [2, 3]):
        batch = scales(load_batch(store, rows, device=CPU))
        frames = batch.frames[~batch.padding_mask]
        torch.testing.assert_close(frames.mean(dim=0), mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(
            frames.std(dim=0, unbiased=False)[:2], std[:2], rtol=1e-3, atol=1e-3
        )


def test_a_clip_is_moved_alike_in_every_batch_and_padding_stays_zero() -> None:
    store: Any = TwoCorpora()
    scales = common_scale(store, clips(FROM_TWO), manifests=2, seed=0)[2]
    assert scales is not None
    alone = scales(load_batch(store, [3], device=CPU)).frames[0]
    mixed = scales(load_batch(store, [1, 3], device=CPU))
    assert torch.equal(mixed.frames[1, :40], alone)
    assert mixed.frames[mixed.padding_mask].eq(0).all()


def test_the_students_frames_move_as_the_teachers() -> None:
    frames = torch.tensor([[[1.0, 2.0]]])
    batch = FrameBatch([0], frames, torch.zeros(1, 1, dtype=torch.bool), torch.ones(1), frames + 1)
    scales = CorpusScales(
        torch.tensor([0]),
        means=torch.tensor([[1.0, 0.0]]),
        stds=torch.tensor([[2.0, 1.0]]),
        mean=torch.tensor([10.0, 0.0]),
        std=torch.tensor([4.0, 1.0]),
    )
    moved = scales(batch)
    assert moved.frames.tolist() == [[[10.0, 2.0]]]
    assert moved.student_frames is not None
    assert moved.student_frames.tolist() == [[[12.0, 3.0]]]


def test_one_corpus_stays_as_it_is() -> None:
    store: Any = TwoCorpora()
    assert common_scale(store, clips(["a", "b", "c", "d"]), manifests=1, seed=0)[2] is None


@pytest.mark.parametrize("manifests", [1, 2])
def test_a_corpus_column_tells_corpora_of_one_manifest_apart(manifests: int) -> None:
    store: Any = TwoCorpora()
    named = clips(FROM_TWO, corpus=["x", "x", "y", "y"])
    scales = common_scale(store, named, manifests=manifests, seed=0)[2]
    assert scales is not None
    assert scales.corpus_of_clip.tolist() == [0, 0, 1, 1]


def test_an_id_with_a_colon_is_no_manifests_number() -> None:
    first, second = clips(["0:a", "1:a"])
    assert corpus_name(first, 1) == corpus_name(second, 1)
    assert corpus_name(first, 2) != corpus_name(second, 2)


def test_a_corpus_without_deviation_is_moved_and_not_blown_up() -> None:
    store: Any = TwoCorpora()
    scales = common_scale(store, clips(FROM_TWO), manifests=2, seed=0)[2]
    assert scales is not None
    assert torch.isfinite(scales.factors).all()
    assert scales.factors[:, 2].tolist() == [1.0, 1.0]
