# SPDX-License-Identifier: Apache-2.0
"""Which epoch of a fine-tuning run is kept, and when more of them are no use."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass
class FitState:
    """Where training stands; all of it is in the checkpoint.

    Attributes:
        epoch: Epochs finished.
        step: Optimiser steps done.
        best_epoch: The epoch chosen so far.
        best_score: The best validation score so far (UA, or CCC), and its standard error.
        best_weights: The weights of ``best_epoch``, without those that do not train.
        history: Losses and metrics, an entry for each epoch.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_score: list[float] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def keep_best(
    state: FitState, entry: dict[str, float], weights: dict[str, Tensor], score: str = "ua"
) -> None:
    """Keep these weights unless the validation part says that an earlier epoch was better.

    The epoch kept is the latest whose validation score is within one standard error of the best:
    with a few dozen clips, a higher score at a high learning rate is mostly luck (the
    one-standard-error rule of Breiman et al., 1984, applied to epochs).

    Args:
        state: Where training stands; the choice is left in it.
        entry: What the validation part gave: ``valid_ua`` and ``valid_ua_error``, say.
        weights: The epoch's weights.
        score: The name of the score that decides.
    """
    found, error = entry[f"valid_{score}"], entry[f"valid_{score}_error"]
    if not state.best_score or found >= state.best_score[0]:
        state.best_score = [found, error]
    elif found < state.best_score[0] - state.best_score[1]:
        return
    keep_epoch(state, weights)


def keep_epoch(state: FitState, weights: dict[str, Tensor]) -> None:
    """Keep the weights of the present epoch."""
    state.best_epoch = state.epoch
    state.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}


def out_of_patience(
    history: Sequence[dict[str, float]], patience: int | None, score: str = "ua"
) -> bool:
    """Whether the validation score has not risen for ``patience`` epochs.

    It is told from the history alone, so a resumed run stops where one that was not stopped does.

    Args:
        history: An entry for each epoch.
        patience: Epochs to wait; None waits for ever.
        score: The name of the score that decides.
    """
    if patience is None or not history:
        return False
    scores = [entry[f"valid_{score}"] for entry in history]
    return len(scores) - 1 - int(np.argmax(scores)) >= patience


def standard_error(confusion: np.ndarray) -> float:
    """Standard error of UA, the mean over classes of binomial recalls.

    Of each class one clip more is counted right and one wrong, as Agresti and Caffo (2000) do for
    few counts: a class whose one clip is right would else be known without any error.

    Args:
        confusion: ``[C, C]`` counts, rows = true; classes without clips are left out.
    """
    clips = confusion.sum(axis=1)
    counted = clips[clips > 0] + 2.0
    recalls = (np.diag(confusion)[clips > 0] + 1.0) / counted
    variances = recalls * (1.0 - recalls) / counted
    return float(np.sqrt(variances.sum()) / len(recalls))
