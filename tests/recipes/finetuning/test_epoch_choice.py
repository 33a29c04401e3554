# SPDX-License-Identifier: Apache-2.0
"""Which epoch is kept, and when training stops early."""

import numpy as np
import pytest
import torch

from voxadapt.recipes.finetuning.epoch_choice import (
    FitState,
    keep_best,
    out_of_patience,
    standard_error,
)


def keep(scores: list[tuple[float, float]]) -> int:
    """The epoch kept after these validation UAs and their standard errors."""
    state = FitState()
    for epoch, (accuracy, error) in enumerate(scores):
        state.epoch = epoch
        model = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(model.weight, epoch)
        keep_best(state, {"valid_ua": accuracy, "valid_ua_error": error}, model.state_dict())
    assert state.best_weights["weight"].item() == state.best_epoch
    return state.best_epoch


def test_the_epoch_kept_is_the_latest_within_a_standard_error_of_the_best() -> None:
    assert keep([(0.5, 0.05)]) == 0
    assert keep([(0.5, 0.05), (0.8, 0.05), (0.6, 0.05)]) == 1
    assert keep([(0.5, 0.05), (0.8, 0.05), (0.76, 0.05), (0.7, 0.05)]) == 2
    assert keep([(0.8, 0.05), (0.8, 0.05)]) == 1
    assert keep([(0.8, 0.05), (0.76, 0.05), (0.72, 0.05)]) == 1  # not below the best by steps


def test_the_kept_weights_are_a_copy() -> None:
    model, state = torch.nn.Linear(1, 1), FitState()
    keep_best(state, {"valid_ua": 0.5, "valid_ua_error": 0.1}, model.state_dict())
    before = model.weight.item()
    torch.nn.init.constant_(model.weight, 9.0)
    assert state.best_weights["weight"].item() == before


def test_standard_error_of_the_mean_recall() -> None:
    assert standard_error(np.array([[8, 2], [5, 5]])) == pytest.approx(
        np.sqrt(0.75 * 0.25 / 12 + 0.5 * 0.5 / 12) / 2
    )
    assert standard_error(np.array([[5, 5], [0, 0]])) == pytest.approx(np.sqrt(0.25 / 12))
    many = standard_error(np.array([[8000, 2000], [5000, 5000]]))
    assert many == pytest.approx(np.sqrt(0.16 / 10_000 + 0.25 / 10_000) / 2, rel=1e-3)


def test_a_class_of_one_clip_is_not_known_without_error() -> None:
    """Else the first epoch that happens to get four clips right would be kept for good."""
    by_luck = np.diag([1, 1, 1, 0]) + np.array([[0] * 4] * 3 + [[1, 0, 0, 0]])
    later = np.diag([1, 2, 0, 0]) + np.array([[0] * 4] * 2 + [[1, 0, 0, 0]] * 2)
    state = FitState()
    for epoch, (found, confusion) in enumerate([(0.75, by_luck), (0.65, later)]):
        state.epoch = epoch
        entry = {"valid_ua": found, "valid_ua_error": standard_error(confusion)}
        keep_best(state, entry, {})
    assert state.best_epoch == 1


def test_another_score_can_decide() -> None:
    state = FitState()
    weights = torch.nn.Linear(1, 1).state_dict()
    keep_best(state, {"valid_ccc": 0.2, "valid_ccc_error": 0.1}, weights, "ccc")
    assert state.best_score == [0.2, 0.1]


@pytest.mark.parametrize(
    ("scores", "patience", "stops"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # as good is no better
        ([0.5, 0.6], 1, False),
        ([0.5, 0.6, 0.5, 0.59], 2, True),
        ([0.5, 0.6, 0.5, 0.61], 2, False),
        ([0.5, 0.4, 0.4, 0.4], None, False),
    ],
)
def test_patience_counts_epochs_without_a_better_score(
    scores: list[float], patience: int | None, stops: bool
) -> None:
    history = [{"valid_ua": score} for score in scores]
    assert out_of_patience(history, patience) == stops
