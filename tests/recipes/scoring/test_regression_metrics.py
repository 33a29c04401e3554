# SPDX-License-Identifier: Apache-2.0
"""Scores of values, against written-out references."""

import numpy as np
import pytest

from voxadapt.recipes.scoring.regression_metrics import (
    concordance,
    concordance_error,
    concordance_interval,
    regression_metrics,
)


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    true = random.standard_normal((40, 2)) * [1.0, 3.0] + [2.0, -1.0]
    return true, 0.7 * true + random.standard_normal((40, 2)) + 0.3


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    joint = np.mean([(a - x.mean()) * (b - y.mean()) for a, b in zip(x, y, strict=True)])
    return 2 * joint / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_against_the_formulas(values: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = values
    found = regression_metrics(["arousal", "valence"], true, predicted)
    assert found["n"] == 40
    for column, name in enumerate(("arousal", "valence")):
        x, y = true[:, column], predicted[:, column]
        scores = found["by_dimension"][name]
        assert scores["ccc"] == pytest.approx(by_hand(x, y))
        joint = ((x - x.mean()) * (y - y.mean())).mean()
        assert scores["pearson"] == pytest.approx(joint / (x.std() * y.std()))
        assert scores["mae"] == pytest.approx(np.abs(x - y).mean())
    for score in ("ccc", "pearson", "mae"):
        means = [found["by_dimension"][name][score] for name in ("arousal", "valence")]
        assert found[score] == pytest.approx(np.mean(means))


def test_a_shift_costs_concordance_and_not_correlation() -> None:
    true = np.arange(10.0)[:, None]
    assert concordance(true, true) == pytest.approx(1.0)
    assert concordance(true, -true + 9) == pytest.approx(-1.0)
    shifted = regression_metrics(["a"], true, true + 3)
    assert shifted["pearson"] == pytest.approx(1.0)
    assert shifted["ccc"] == pytest.approx(2 * 8.25 / (2 * 8.25 + 9))
    assert shifted["mae"] == pytest.approx(3.0)


def test_values_that_are_all_the_same() -> None:
    true, constant = np.arange(6.0)[:, None], np.full((6, 1), 2.0)
    found = regression_metrics(["a"], true, constant)
    assert (found["ccc"], found["pearson"]) == (0.0, None)
    assert concordance(constant, constant) == 1.0
    assert concordance(constant, constant + 1) == 0.0
    both = np.concatenate([true, true], axis=1)
    half = regression_metrics(["a", "b"], both, np.concatenate([true, constant], axis=1))
    assert half["pearson"] == pytest.approx(1.0)  # of the dimension that has one
    assert half["ccc"] == pytest.approx(0.5)


def test_the_interval_holds_the_score_and_narrows_with_clips(
    values: tuple[np.ndarray, np.ndarray],
) -> None:
    true, predicted = values
    found = concordance_interval(true, predicted)
    low, high = found["ccc"]
    assert found["unit"] == "clip"
    assert low < concordance(true, predicted).mean() < high
    many = concordance_interval(np.tile(true, (9, 1)), np.tile(predicted, (9, 1)))["ccc"]
    assert (high - low) / (many[1] - many[0]) == pytest.approx(3.0, rel=0.2)
    assert concordance_error(true, predicted) == pytest.approx((high - low) / 3.92, rel=0.2)
    assert concordance_interval(true, predicted) == found  # seeded


def test_speakers_are_resampled_whole_where_there_are_enough(
    values: tuple[np.ndarray, np.ndarray],
) -> None:
    true, predicted = values
    few = concordance_interval(true, predicted, speakers=[str(n % 4) for n in range(40)])
    assert few["unit"] == "clip"
    unknown = concordance_interval(true, predicted, speakers=[None, *"abcdefg" * 5, *"abcd"])
    assert unknown["unit"] == "clip"
    # Ten copies of each clip as one speaker are no more than that clip.
    speakers = [str(n % 40) for n in range(400)]
    copies = concordance_interval(
        np.tile(true, (10, 1)), np.tile(predicted, (10, 1)), speakers=speakers
    )
    alone = concordance_interval(true, predicted)["ccc"]
    assert copies["unit"] == "speaker"
    assert np.ptp(copies["ccc"]) == pytest.approx(np.ptp(alone), rel=0.2)


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 1)), r"must be \[N, 2\], got \[3, 2\] and \[3, 1\]"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "true is empty"),
        (np.zeros((1, 2)), np.full((1, 2), np.nan), "predicted must be finite"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    true: np.ndarray, predicted: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        regression_metrics(["a", "b"], true, predicted)
