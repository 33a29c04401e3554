# SPDX-License-Identifier: Apache-2.0
"""Scores of predicted values, such as arousal, valence and dominance.

- `ccc`, the concordance correlation coefficient (Lin 1989): ``2 s_xy / (s_x² + s_y² + (μ_x -
  μ_y)²)`` with variances over N, as in the AVEC challenges. 1 is perfect. Values that are shifted
  or scaled lose, which a correlation would not see.
- `pearson`, the correlation coefficient.
- `mae`, the mean absolute error, in the units of the labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from voxadapt.recipes.scoring.metrics import known_speakers

SCORES = ("ccc", "pearson", "mae")


def concordance(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Concordance correlation coefficient of each dimension.

    Args:
        true: ``[..., N, O]`` float.
        predicted: ``[..., N, O]`` float.

    Returns:
        ``[..., O]``, -1 to 1. Where one side is constant it is 0, whatever the distance; where both
        are and agree, 1.
    """
    weights = np.full(true.shape[-2], 1.0 / true.shape[-2])
    return _concordance(true, predicted, weights)


def regression_metrics(
    names: Sequence[str], true: np.ndarray, predicted: np.ndarray
) -> dict[str, Any]:
    """Score predicted values.

    Args:
        names: The dimensions ``O``.
        true: ``[N, O]`` float.
        predicted: ``[N, O]`` float.

    Returns:
        Ready for JSON: ``n``; ``ccc``, ``pearson`` and ``mae``, means over the dimensions; and the
        same of each in ``by_dimension``. ``pearson`` of a dimension is None where one side is
        constant, and then left out of the mean.

    Raises:
        ValueError: No clips, shapes that do not fit, or a value that is not finite.
    """
    from sklearn.metrics import mean_absolute_error

    _check_values(names, true, predicted)
    errors = mean_absolute_error(true, predicted, multioutput="raw_values")
    concordances = concordance(true, predicted)
    by_dimension = {
        name: {
            "ccc": float(concordances[column]),
            "pearson": _pearson(true[:, column], predicted[:, column]),
            "mae": float(errors[column]),
        }
        for column, name in enumerate(names)
    }
    return {
        "n": len(true),
        **{name: _mean([scores[name] for scores in by_dimension.values()]) for name in SCORES},
        "by_dimension": by_dimension,
    }


def concordance_interval(
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    speakers: Sequence[str | None] | None = None,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Percentile bootstrap interval of the mean CCC.

    Whole speakers are resampled where there are enough (see `known_speakers`), otherwise clips. The
    interval holds for this trained model.

    Args:
        true: ``[N, O]`` float.
        predicted: ``[N, O]`` float.
        speakers: The speaker of each clip, where known.
        samples: The number of resamples.
        seed: Of the resampling.
        level: The share of resamples inside the interval.

    Returns:
        ``ccc``, ``[low, high]``, and ``unit``: "clip" or "speaker", what was resampled.
    """
    unit, groups = "clip", np.arange(len(true))
    named = known_speakers(speakers or [])
    if named is not None:
        unit, groups = "speaker", np.unique(named, return_inverse=True)[1]
    values = _resampled_concordance(true, predicted, groups, samples, seed)
    edges = [50 * (1 - level), 50 * (1 + level)]
    return {"ccc": np.percentile(values, edges).tolist(), "unit": unit}


def concordance_error(
    true: np.ndarray, predicted: np.ndarray, *, samples: int = 200, seed: int = 0
) -> float:
    """Standard error of the mean CCC over clips, by the bootstrap.

    Args:
        true: ``[N, O]`` float.
        predicted: ``[N, O]`` float.
        samples: The number of resamples.
        seed: Of the resampling.
    """
    groups = np.arange(len(true))
    return float(_resampled_concordance(true, predicted, groups, samples, seed).std())


def _resampled_concordance(
    true: np.ndarray, predicted: np.ndarray, groups: np.ndarray, samples: int, seed: int
) -> np.ndarray:
    """Mean CCC ``[samples]`` of resamples of groups of clips."""
    units = int(groups.max()) + 1
    random = np.random.default_rng(seed)
    found = np.zeros(samples)
    for row in range(samples):  # of all at once, a corpus of 10,000 clips would take gigabytes
        drawn = np.bincount(random.integers(units, size=units), minlength=units)[groups]
        found[row] = _concordance(true, predicted, drawn / drawn.sum()).mean()
    return found


def _concordance(true: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """CCC ``[..., O]`` of clips that count by ``weights`` ``[N]``, which add up to 1."""
    share = weights[:, None]
    true_mean = (share * true).sum(axis=-2, keepdims=True)
    predicted_mean = (share * predicted).sum(axis=-2, keepdims=True)
    true_off, predicted_off = true - true_mean, predicted - predicted_mean
    joint = (share * true_off * predicted_off).sum(axis=-2)
    spread = (share * (true_off**2 + predicted_off**2)).sum(axis=-2)
    apart = spread + ((true_mean - predicted_mean) ** 2)[..., 0, :]
    return np.divide(2 * joint, apart, out=np.ones_like(apart), where=apart > 0)


def _pearson(true: np.ndarray, predicted: np.ndarray) -> float | None:
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        return None
    return float(np.corrcoef(true, predicted)[0, 1])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _check_values(names: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> None:
    if true.shape != predicted.shape or true.ndim != 2 or true.shape[1] != len(names):
        raise ValueError(
            f"true and predicted must be [N, {len(names)}], got {list(true.shape)} and "
            f"{list(predicted.shape)}."
        )
    if not len(true):
        raise ValueError("true is empty; scores need at least one clip.")
    for name, values in (("true", true), ("predicted", predicted)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][:3]}.")
