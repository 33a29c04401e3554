# SPDX-License-Identifier: Apache-2.0
"""Temperatures that are known, and what a handful of clips may not do."""

import math

import numpy as np
import pytest

from voxadapt.calibration import fit_temperature, log_loss


def draw(temperature: float, clips: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too far apart, and classes drawn by the right ones."""
    random = np.random.default_rng(0)
    right = random.normal(0, 2, (clips, 4))
    shares = np.exp(right) / np.exp(right).sum(axis=1, keepdims=True)
    true = np.array([random.choice(4, p=row) for row in shares])
    return temperature * right, true


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_the_logits_were_made_with_is_found(temperature: float) -> None:
    logits, true = draw(temperature)
    found = fit_temperature(logits, true, prior_spread=math.inf)
    assert found == pytest.approx(temperature, rel=0.06)
    # No temperature near it has a lower loss.
    best = log_loss(logits / found, true)
    assert best < log_loss(logits / (1.02 * found), true)
    assert best < log_loss(logits / (0.98 * found), true)
    assert fit_temperature(logits, true) == pytest.approx(found, rel=0.1)


def test_few_clips_move_it_less_than_many() -> None:
    logits, true = draw(3.0, clips=2_000)
    few = fit_temperature(logits[:40], true[:40])
    assert 1.0 < few < fit_temperature(logits[:400], true[:400]) < fit_temperature(logits, true) < 3


def test_clips_that_are_all_right_do_not_make_the_model_certain() -> None:
    logits = np.tile([2.0, 0.0, 0.0], (30, 1))
    assert 0.7 < fit_temperature(logits, np.zeros(30, dtype=int)) < 1.0


def test_the_log_loss_is_that_of_the_formula_and_does_not_overflow() -> None:
    logits, true = np.array([[1.0, 2.0], [0.5, -0.5]]), np.array([1, 1])
    expected = np.mean([math.log1p(math.exp(-1.0)), math.log1p(math.exp(1.0))])
    assert log_loss(logits, true) == pytest.approx(expected)
    assert log_loss(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)


@pytest.mark.parametrize(
    ("logits", "true", "message"),
    [
        (np.zeros((0, 3)), [], r"found shapes \[0, 3\] and \[0\]"),
        (np.zeros((2, 3)), [0], r"found shapes \[2, 3\] and \[1\]"),
        (np.zeros(3), [0, 1, 2], r"give \[N, C\]"),
        (np.zeros((1, 3)), [3], "found classes 3 to 3, allowed: 0 to 2"),
        (np.zeros((1, 3)), [-1], "found classes -1"),
        (np.full((1, 3), np.nan), [0], "not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(logits: np.ndarray, true: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, true)
