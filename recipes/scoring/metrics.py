# SPDX-License-Identifier: Apache-2.0
"""Scores of a classifier, how sure they are, and how calibrated its probabilities are.

The three headline scores, fractions in 0..1, mean the same thing everywhere:

- `wa`, weighted accuracy: the share of clips that are right.
- `ua`, unweighted accuracy: the mean recall over the classes present in `true`. A class without a
  clip has no recall and is left out.
- `macro_f1`: the mean F1 over the classes present in `true` or in `predicted`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from voxadapt.recipes.scoring.resampled_interval import resampled_interval, units_of_scores

SCORES = ("wa", "ua", "macro_f1")

MINIMUM_SPEAKERS = 5
"""Resampling fewer speakers than this says too little about others: clips are resampled then."""


def known_speakers(speakers: Sequence[str | None]) -> list[str] | None:
    """Return the speaker of each clip, for resampling whole speakers; None where clips must do.

    Args:
        speakers: the speaker of each clip, None where unknown.
    """
    named = [speaker for speaker in speakers if speaker is not None]
    enough = len(set(named)) >= MINIMUM_SPEAKERS
    return named if enough and len(named) == len(speakers) else None


def classification_metrics(
    labels: Sequence[str], true: np.ndarray, predicted: np.ndarray
) -> dict[str, Any]:
    """Score predictions.

    Args:
        labels: the names of the C classes, in the order of their numbers.
        true: the right classes, `[N]` int in 0..C-1.
        predicted: the predicted classes, `[N]` int in 0..C-1.

    Returns:
        Ready for JSON: `n`; `wa`, `ua` and `macro_f1` (see the module); `per_class_recall` by
        label, None where `true` has no such clip; `confusion`, C rows (true) of C counts
        (predicted).

    Raises:
        ValueError: no clips, unequal lengths, or a class that is not in 0..C-1.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

    true, predicted = _check_classes(labels, true, predicted)
    present = np.unique(true)
    recall = dict(
        zip(present, recall_score(true, predicted, labels=present, average=None), strict=True)
    )
    return {
        "n": len(true),
        "wa": float(accuracy_score(true, predicted)),
        "ua": float(recall_score(true, predicted, labels=present, average="macro")),
        "macro_f1": float(f1_score(true, predicted, average="macro")),
        "per_class_recall": {
            label: float(recall[number]) if number in recall else None
            for number, label in enumerate(labels)
        },
        "confusion": confusion_matrix(true, predicted, labels=range(len(labels))).tolist(),
    }


def bootstrap_interval(
    labels: Sequence[str],
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    speakers: Sequence[str | None] | None = None,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Give percentile bootstrap intervals of `wa`, `ua` and `macro_f1`.

    Clips of one speaker are not independent, so whole speakers are resampled where every clip has
    one and there are at least `MINIMUM_SPEAKERS`; otherwise clips are, which gives intervals too
    narrow for new speakers. The intervals hold for this trained model: they do not cover what
    another seed or training set would change. Where resamples do not differ, as where every clip is
    right, an exact interval takes their place (see `resampled_interval`).

    Args:
        labels: the names of the C classes, in the order of their numbers.
        true: the right classes, `[N]` int in 0..C-1.
        predicted: the predicted classes, `[N]` int in 0..C-1.
        speakers: the speaker of each clip, where known.
        samples: the number of resamples.
        seed: of the resampling.
        level: the share of resamples inside an interval.

    Returns:
        `wa`, `ua` and `macro_f1`, each `[low, high]`, and `unit`: "clip" or "speaker", what was
        resampled.

    Raises:
        ValueError: no clips, unequal lengths, a class that is not in 0..C-1, or `samples` or
            `level` out of range.
    """
    true, predicted = _check_classes(labels, true, predicted)
    if speakers is not None and len(speakers) != len(true):
        raise ValueError(
            f"speakers must have one entry a clip, got {len(speakers)} for {len(true)} clips; "
            "use None where a speaker is unknown."
        )
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}; 0.95 is usual.")

    named = known_speakers(speakers or [])
    if named is not None:
        unit = "speaker"
        units = np.unique(named, return_inverse=True)[1]
        draws = np.ones(units.max() + 1, dtype=np.int64)
    else:
        # Clips in the same cell of the confusion matrix cannot be told apart by any score, so
        # drawing clips is drawing cells as often as each has clips.
        unit = "clip"
        cells, draws = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
        true, predicted = cells
        units = np.arange(len(draws))

    # How often each resample holds each unit, [samples, units].
    probability = draws / draws.sum()
    drawn = np.random.default_rng(seed).multinomial(draws.sum(), probability, samples).astype(float)
    shape, right = (len(draws), len(labels)), true == predicted
    of_class = count_pairs(units, true, shape)
    scores = scores_of_counts(
        right=drawn @ count_pairs(units[right], true[right], shape),
        true=drawn @ of_class,
        predicted=drawn @ count_pairs(units, predicted, shape),
    )
    sizes = units_of_scores(of_class, draws)
    return {
        **{name: resampled_interval(scores[name], sizes[name], level) for name in SCORES},
        "unit": unit,
    }


def expected_calibration_error(
    probabilities: np.ndarray, true: np.ndarray, *, bins: int = 15
) -> float:
    """Give the expected calibration error of the top class (Guo et al. 2017, arXiv 1706.04599).

    Clips are put in bins of equal width by their confidence, the highest probability; a bin's
    right edge belongs to it. The error is the mean over clips of their bin's |accuracy - mean
    confidence|.

    Args:
        probabilities: `[N, C]` in 0..1, rows that sum to one (to 1e-3, for rounded ones).
        true: the right classes, `[N]` int in 0..C-1.
        bins: the number of bins; the paper's is 15.

    Returns:
        The error, 0 (calibrated) to 1.

    Raises:
        ValueError: no clips, unequal lengths, a class that is not in 0..C-1, rows that are not
            distributions, or `bins` below 1.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities must be [N, C], got {list(probabilities.shape)}.")
    classes = [str(number) for number in range(probabilities.shape[1])]
    true, predicted = _check_classes(classes, true, probabilities.argmax(axis=1))
    valid = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= 1e-3)
    if not valid.all():
        row = int(np.argmin(valid))
        raise ValueError(
            f"probabilities must be rows of numbers in 0..1 that sum to one, got "
            f"{probabilities[row].tolist()} in row {row}; apply softmax to logits."
        )
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}.")
    confidence = probabilities.max(axis=1)
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    excess = (predicted == true) - confidence
    per_bin = np.bincount(np.digitize(confidence, edges, right=True), weights=excess)
    return float(np.abs(per_bin).sum() / len(true))


def average_runs(
    runs: Sequence[dict[str, Any]], names: Sequence[str] = SCORES
) -> dict[str, dict[str, float | None]]:
    """Average the scores of several runs, such as seeds or folds.

    Args:
        runs: what `classification_metrics` gave for each.
        names: the scores to average.

    Returns:
        For each of `names`, the `mean` and the sample standard deviation `std` (divisor n - 1; 0
        for a single run) over the runs that have the score; None where no run has.

    Raises:
        ValueError: no runs, or a run without one of the scores.
    """
    if not runs:
        raise ValueError("runs must hold at least one run's metrics, got none.")
    for number, run in enumerate(runs):
        missing = [name for name in names if name not in run]
        if missing:
            raise ValueError(
                f"runs must each have {', '.join(names)}; run {number} lacks {', '.join(missing)}."
            )
    averages: dict[str, dict[str, float | None]] = {}
    for name in names:
        values = np.array([run[name] for run in runs if run[name] is not None], dtype=float)
        std = values.std(ddof=1) if len(values) > 1 else 0.0
        known = len(values) > 0
        averages[name] = {
            "mean": float(values.mean()) if known else None,
            "std": float(std) if known else None,
        }
    return averages


def scores_of_counts(
    right: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
    """Score many resamples or groups of clips at once.

    Args:
        right: clips that are right, by class, `[N, C]` float.
        true: clips of each class, `[N, C]` float.
        predicted: clips that are taken for each class, `[N, C]` float.

    Returns:
        `wa`, `ua` and `macro_f1`, each `[N]`; scikit-learn's values where counts are whole numbers.
    """
    recall = np.divide(right, true, out=np.zeros_like(right), where=true > 0)
    either = true + predicted
    f1 = np.divide(2 * right, either, out=np.zeros_like(right), where=either > 0)
    return {
        "wa": right.sum(axis=-1) / true.sum(axis=-1),
        "ua": recall.sum(axis=-1) / (true > 0).sum(axis=-1),
        "macro_f1": f1.sum(axis=-1) / (either > 0).sum(axis=-1),
    }


def count_pairs(
    rows: np.ndarray,
    columns: np.ndarray,
    shape: tuple[int, int],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Count pairs of row and column, `[rows, columns]` float.

    Args:
        rows: `[N]` int.
        columns: `[N]` int.
        shape: the number of rows and of columns.
        weights: `[N]` float, what each pair counts; 1 without.
    """
    flat = np.bincount(rows * shape[1] + columns, weights, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(float)


def _check_classes(
    labels: Sequence[str], true: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return both as `[N]` int64 arrays, or raise ValueError."""
    if len(set(labels)) != len(labels):
        raise ValueError(f"labels must differ from one another, got {list(labels)}.")
    arrays = {"true": np.asarray(true), "predicted": np.asarray(predicted)}
    for name, array in arrays.items():
        if array.size == 0:
            raise ValueError(f"{name} is empty; scores need at least one clip.")
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"{name} must be class numbers, [N] int, got {array.dtype} {list(array.shape)}."
            )
        if array.min() < 0 or array.max() >= len(labels):
            raise ValueError(
                f"{name} must lie in 0..{len(labels) - 1}, as there are {len(labels)} labels, got "
                f"{array.min()}..{array.max()}."
            )
    true, predicted = arrays["true"].astype(np.int64), arrays["predicted"].astype(np.int64)
    if len(true) != len(predicted):
        raise ValueError(
            f"true and predicted must be equally long, got {len(true)} and {len(predicted)}."
        )
    return true, predicted
