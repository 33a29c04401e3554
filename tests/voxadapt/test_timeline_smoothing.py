# SPDX-License-Identifier: Apache-2.0
"""The moving mean, against a loop."""

import numpy as np
import pytest

from voxadapt.timeline_smoothing import smooth_outputs


def by_loop(
    outputs: np.ndarray, middles: np.ndarray, weights: np.ndarray, seconds: float
) -> np.ndarray:
    smoothed = np.full_like(outputs, np.nan)
    for row, middle in enumerate(middles):
        if np.isnan(outputs[row]).any():
            continue
        near = (np.abs(middles - middle) <= seconds / 2 + 1e-6) & ~np.isnan(outputs[:, 0])
        smoothed[row] = (outputs[near] * weights[near, None]).sum(axis=0) / weights[near].sum()
    return smoothed


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3.0, 4.5, 1_000.0])
def test_it_is_the_mean_of_a_loop(seconds: float) -> None:
    random = np.random.default_rng(0)
    outputs = random.dirichlet(np.ones(4), size=50)
    outputs[[3, 4, 5, 20, 49]] = np.nan
    middles = np.sort(random.uniform(0, 40, 50))
    weights = random.uniform(0.1, 1, 50)
    found = smooth_outputs(outputs, middles, weights, seconds)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_loop(outputs, middles, weights, seconds), atol=1e-6)
    sums = found.sum(axis=1)
    assert sums[~np.isnan(sums)] == pytest.approx(1, abs=1e-6)


def test_a_window_half_the_width_away_counts_and_one_further_does_not() -> None:
    outputs = np.array([[0.0], [0.0], [6.0], [0.0], [0.0]])
    found = smooth_outputs(outputs, np.arange(5) + 1.5, np.ones(5), 2.0)
    assert found[:, 0] == pytest.approx([0, 2, 2, 2, 0])


def test_a_flicker_goes_and_a_change_stays_where_it_is() -> None:
    outputs = np.array([0.9, 0.9, 0.2, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    shares = np.stack([outputs, 1 - outputs], axis=1)
    found = smooth_outputs(shares, np.arange(10.0), np.ones(10), 3.0)
    assert found.argmax(axis=1).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_nothing_heard_stays_nothing() -> None:
    found = smooth_outputs(np.full((3, 2), np.nan), np.arange(3.0), np.zeros(3), 3.0)
    assert np.isnan(found).all()


def test_means_of_many_windows_leave_no_digits_below_zero() -> None:
    outputs = np.zeros((200_000, 2))
    outputs[:, 1] = 1.0
    outputs[:1_000] = [0.3, 0.7]
    found = smooth_outputs(outputs, np.arange(200_000.0), np.full(200_000, 0.1), 9.0)
    assert found.min() == 0.0
    assert found.max() == 1.0
