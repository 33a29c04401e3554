# SPDX-License-Identifier: Apache-2.0
"""A timeline's outputs as means over neighbouring windows, so that the label does not flicker."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def smooth_outputs(outputs: Array, middles: Array, weights: Array, seconds: float) -> Array:
    """Centred, weighted moving mean over time.

    The outputs at a time become the mean of those of all windows whose middle lies within half of
    `seconds` of it, on both sides. So it looks ahead: in live use, what is said of a moment would
    be known half of `seconds` later than without. Probabilities still add up to 1. A mean is taken
    and not a median, which does not keep that, nor an exponential mean, which shifts every change
    to later.

    Args:
        outputs: ``[N, O]``; a row of NaN takes no part and stays.
        middles: ``[N]`` the windows' middles (seconds), rising.
        weights: ``[N]`` what each window counts, above 0 where its row is not NaN: the seconds that
            it stands for, so that a window that was moved back does not count double.
        seconds: Width of the mean; 0 changes nothing.

    Returns:
        ``[N, O]`` float32.
    """
    present: Array = ~np.isnan(outputs.sum(axis=1))  # [N]
    if seconds <= 0 or not present.any():
        return outputs.astype(np.float32)
    weights = np.where(present, weights, 0.0).astype(np.float64)
    weighted = np.where(present[:, None], outputs, 0.0) * weights[:, None]
    # Sums up to each window; the sum over a range is the difference of two of them.
    sums = np.concatenate([np.zeros((1, outputs.shape[1])), weighted.cumsum(axis=0)])
    totals = np.concatenate([[0.0], weights.cumsum()])
    half = seconds / 2 + 1e-6  # a middle at the very edge is in, whatever its last bit says
    first = np.searchsorted(middles, middles - half)
    last = np.searchsorted(middles, middles + half, side="right")
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums[last] - sums[first]) / (totals[last] - totals[first])[:, None]
    return np.where(present[:, None], means, np.nan).astype(np.float32)
