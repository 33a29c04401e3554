# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from voxadapt.recipes.finetuning.epoch_rows import draw_balanced

CLASSES = np.array([0] * 20 + [1] * 5 + [4] * 2)


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_class_comes_alike_often_and_its_clips_in_turn(epoch: int) -> None:
    rows = draw_balanced(CLASSES, 3, epoch)
    assert len(rows) == len(CLASSES)
    assert np.unique(CLASSES[rows], return_counts=True)[1].tolist() == [9, 9, 9]
    times = np.bincount(rows, minlength=len(CLASSES))
    assert set(times[:20]) == {0, 1}
    assert set(times[20:25]) == {1, 2}
    assert sorted(times[25:]) == [4, 5]


def test_what_an_even_division_leaves_over_goes_round() -> None:
    classes = np.array([0] * 9 + [1] * 2)
    counts = {tuple(np.bincount(classes[draw_balanced(classes, 0, epoch)])) for epoch in range(20)}
    assert counts == {(5, 6), (6, 5)}


def test_over_epochs_no_clip_is_forgotten() -> None:
    seen = {row for epoch in range(20) for row in draw_balanced(CLASSES, 0, epoch)}
    assert seen == set(range(len(CLASSES)))


def test_the_draw_depends_on_seed_and_epoch_alone() -> None:
    first = draw_balanced(CLASSES, 0, 0)
    np.random.default_rng(5).random()
    assert np.array_equal(first, draw_balanced(CLASSES, 0, 0))
    assert not np.array_equal(first, draw_balanced(CLASSES, 0, 1))
    assert not np.array_equal(first, draw_balanced(CLASSES, 1, 0))
