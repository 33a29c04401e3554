# SPDX-License-Identifier: Apache-2.0
"""Scores of a part, of each speaker and of short and long clips."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from voxadapt.recipes.scoring.metrics import (
    bootstrap_interval,
    classification_metrics,
    expected_calibration_error,
)
from voxadapt.recipes.scoring.part_scores import (
    clip_seconds,
    score_part,
    scores_by_duration,
    scores_by_speaker,
)

LABELS = ["angry", "happy", "sad"]


def make_part(clips: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    true = random.integers(0, 3, clips)
    probabilities = random.dirichlet(np.ones(3), clips)
    probabilities[np.arange(clips), true] += 0.5
    return true, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_a_part_has_everything_that_is_reported() -> None:
    true, probabilities = make_part(5)
    speakers, seconds = ["a", "b", "a", None, "b"], [0.5, 1.0, 3.9, 4.0, 70.0]
    found = score_part(LABELS, true, probabilities, speakers, seconds)
    predicted = probabilities.argmax(axis=1)
    assert found == {
        "labels": LABELS,
        **classification_metrics(LABELS, true, predicted),
        "ci95": bootstrap_interval(LABELS, true, predicted, speakers=speakers),
        "ece": expected_calibration_error(probabilities, true),
        "by_speaker": scores_by_speaker(LABELS, true, predicted, speakers),
        "by_duration": scores_by_duration(LABELS, true, predicted, seconds),
    }
    assert [bucket["n"] for bucket in found["by_duration"]] == [1, 1, 1, 1, 1]


def test_each_speakers_scores_are_those_of_its_clips_alone() -> None:
    true, probabilities = make_part()
    predicted = probabilities.argmax(axis=1)
    speakers = [f"s{number % 11}" for number in range(60)]
    found = scores_by_speaker(LABELS, true, predicted, speakers)
    assert list(found) == [f"s{number}" for number in range(11)]  # 10 comes after 2
    for name, scores in found.items():
        chosen = np.array(speakers) == name
        assert scores["n"] == chosen.sum()
        assert scores["wa"] == pytest.approx((true == predicted)[chosen].mean())
        present = np.unique(true[chosen])
        ua = recall_score(true[chosen], predicted[chosen], labels=present, average="macro")
        assert scores["ua"] == pytest.approx(ua)
        f1 = f1_score(true[chosen], predicted[chosen], average="macro")
        assert scores["macro_f1"] == pytest.approx(f1)


def test_clips_of_unknown_speakers_are_in_nobodys_scores() -> None:
    true, predicted = np.array([0, 1, 2]), np.array([0, 0, 2])
    found = scores_by_speaker(LABELS, true, predicted, [None, "b", None])
    assert found == {"b": {"n": 1, "wa": 0.0, "ua": 0.0, "macro_f1": 0.0}}
    assert scores_by_speaker(LABELS, true, predicted, [None] * 3) == {}


def test_durations_fall_into_fixed_buckets_and_edges_into_the_upper_one() -> None:
    true = np.zeros(6, dtype=int)
    predicted = np.array([0, 1, 0, 1, 0, 0])
    seconds = [0.99, 1.0, 1.99, 2.0, 16.0, 600.0]
    found = scores_by_duration(LABELS, true, predicted, seconds)
    edges = [(bucket["from"], bucket["to"], bucket["n"], bucket["wa"]) for bucket in found]
    assert edges == [(0, 1, 1, 1), (1, 2, 2, 0.5), (2, 4, 1, 0), (16, None, 2, 1)]


def test_seconds_are_frames_over_their_rate(make_store: Callable[..., Any]) -> None:
    assert clip_seconds(make_store([50, 25, 7]), [2, 0], 50.0) == [0.14, 1.0]
