# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.fold_balancing import balance_folds, balance_speaker_folds


def sums_of(deal: np.ndarray, counts: np.ndarray, folds: int) -> np.ndarray:
    sums = np.zeros((folds, counts.shape[1]))
    np.add.at(sums, deal, counts)
    return sums


def test_a_swap_that_no_move_can_do() -> None:
    # Fold 0 has all of the first label; each fold has two speakers and as many clips.
    counts = np.array([[10.0, 0], [10, 0], [0, 10], [0, 10]])
    balanced = balance_folds(np.array([0, 0, 1, 1]), counts, 2)
    assert sums_of(balanced, counts, 2).tolist() == [[10, 10], [10, 10]]


def test_sizes_are_evened_out_and_no_fold_is_emptied() -> None:
    counts = np.array([[6.0, 6], [2, 2], [2, 2], [2, 2]])
    balanced = balance_folds(np.array([0, 0, 0, 1]), counts, 2)
    assert sorted(sums_of(balanced, counts, 2).sum(axis=1).tolist()) == [12, 12]
    assert set(balance_folds(np.array([0, 1, 2, 3]), counts, 4).tolist()) == {0, 1, 2, 3}


def test_a_label_is_not_left_in_one_fold_for_the_sake_of_sizes() -> None:
    # Two speakers have the rare label; apart, sizes are less even.
    counts = np.array([[10.0, 1], [4, 1], [7, 0], [7, 0]])
    balanced = balance_folds(np.array([0, 0, 1, 1]), counts, 2)
    assert (sums_of(balanced, counts, 2)[:, 1] == 1).all()


def test_the_best_deal_of_a_small_corpus_is_found() -> None:
    random = np.random.default_rng(0)
    counts = random.integers(1, 9, (8, 3)).astype(float)

    def unevenness(deal: np.ndarray) -> float:
        shares = sums_of(deal, counts, 2) / counts.sum(axis=0)
        sizes = sums_of(deal, counts, 2).sum(axis=1) / counts.sum()
        return float(np.square(shares - 0.5).sum() + 3 * np.square(sizes - 0.5).sum())

    every = [np.array([number >> bit & 1 for bit in range(8)]) for number in range(1, 255)]
    least = min(map(unevenness, every))
    start = np.array([0] * 4 + [1] * 4)
    found = unevenness(balance_folds(start, counts, 2))
    assert found < 0.25 * unevenness(start)
    assert found < 3 * least + 0.002
    again = balance_folds(balance_folds(start, counts, 2), counts, 2)
    assert unevenness(again) == found


def test_all_clips_of_a_speaker_stay_together() -> None:
    clips = [
        Clip(f"{speaker}{label}", Path("a.wav"), label=label, speaker=speaker)
        for speaker in "abcd"
        for label in "xy"
    ]
    folds = balance_speaker_folds(clips, [0, 0, 0, 0, 0, 0, 1, 1])
    assert sorted(folds) == [0] * 4 + [1] * 4
    by_speaker = {clip.speaker: fold for clip, fold in zip(clips, folds, strict=True)}
    assert folds == [by_speaker[clip.speaker] for clip in clips]
