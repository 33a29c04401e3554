# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from voxadapt.recipes.scoring.resampled_interval import resampled_interval, units_of_scores


def test_resamples_that_differ_give_their_percentiles() -> None:
    values = np.linspace(0.5, 0.7, 101)
    assert resampled_interval(values, 4) == pytest.approx([0.505, 0.695])
    assert resampled_interval(values, 4, level=0.5) == pytest.approx([0.55, 0.65])


@pytest.mark.parametrize(
    ("share", "units", "expected"),
    [(1.0, 4, [0.3976, 1.0]), (0.0, 4, [0.0, 0.6024]), (0.5, 10, [0.1871, 0.8129])],
)
def test_resamples_that_are_all_alike_give_the_exact_interval_of_a_share(
    share: float, units: int, expected: list[float]
) -> None:
    found = resampled_interval(np.full(1000, share), units)
    assert found == pytest.approx(expected, abs=1e-4)  # from tables of the binomial distribution


def test_a_mean_over_classes_rests_on_as_many_units_of_each_as_the_smallest_has() -> None:
    of_class = np.array([[1.0, 0, 0], [0, 1.0, 0]])  # two kinds of clips; none of the third class
    sizes = units_of_scores(of_class, np.array([10, 3]))
    assert sizes == {"wa": 13, "ua": 6, "macro_f1": 6}
    speakers = np.array([[4.0, 2.0, 1.0]] * 5)  # each has all classes, and is one unit
    sizes = units_of_scores(speakers, np.ones(5, dtype=int))
    assert sizes == {"wa": 5, "ua": 5, "macro_f1": 5}
