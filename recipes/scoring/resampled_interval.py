# SPDX-License-Identifier: Apache-2.0
"""The interval of a score out of its resamples, and out of their number where they are all alike.

Where every clip is right, every resample is right too, and the percentiles would call four clips as
sure as four thousand. The same goes for a model that says one class only, and its mean recall. What
is sure then is how many units there were: the exact interval of a share (Clopper and Pearson 1934),
which for N units that are all right begins at ``0.025 ** (1 / N)``.
"""

from collections.abc import Mapping

import numpy as np


def resampled_interval(values: np.ndarray, units: int, level: float = 0.95) -> list[float]:
    """Give the percentiles of resamples, or the exact interval where these do not differ.

    Args:
        values: a score in 0..1 of each resample, `[samples]`.
        units: how many clips, or speakers, the score rests on (see `units_of_scores`).
        level: the share of resamples inside the interval.

    Returns:
        `[low, high]`.
    """
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)]).tolist()
    if high - low > 1e-9:
        return [low, high]
    from scipy.stats import beta

    right, tail = low * units, (1 - level) / 2
    wrong = units - right
    return [
        float(beta.ppf(tail, right, wrong + 1)) if right > 0 else 0.0,
        float(beta.ppf(1 - tail, right + 1, wrong)) if wrong > 0 else 1.0,
    ]


def units_of_scores(of_class: np.ndarray, draws: np.ndarray) -> Mapping[str, int]:
    """Count what scores rest on: all units, or as many for each class as the smallest class has.

    Args:
        of_class: clips of each class in each unit, `[units, C]`.
        draws: how many units of that kind there are, `[units]`.

    Returns:
        The number for `wa`, `ua` and `macro_f1`.
    """
    holding = (draws @ (of_class > 0)).astype(int)
    present = holding[holding > 0]
    whole = int(draws.sum())
    even = min(whole, len(present) * int(present.min()))
    return {"wa": whole, "ua": even, "macro_f1": even}
