# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from voxadapt.recipes.reporting.calibration import BINS, calibration_section, reliability
from voxadapt.recipes.scoring.metrics import expected_calibration_error


def records_of(probabilities: np.ndarray, true: np.ndarray) -> list[dict]:
    labels = [f"class {number}" for number in range(probabilities.shape[1])]
    return [
        {
            "label": labels[right],
            "predicted": labels[int(row.argmax())],
            "probabilities": dict(zip(labels, row.tolist(), strict=True)),
        }
        for row, right in zip(probabilities, true, strict=True)
    ]


def test_bins_give_the_expected_calibration_error() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 500)
    true = random.integers(0, 3, 500)
    bins = reliability(records_of(probabilities, true))
    assert len(bins) == BINS
    assert sum(count for count, _, _ in bins) == 500
    error = sum(count * abs(right - sure) for count, right, sure in bins) / 500
    assert error == pytest.approx(expected_calibration_error(probabilities, true))


def test_an_edge_belongs_to_the_bin_below_and_certainty_to_the_last() -> None:
    certain = records_of(np.array([[1.0, 0.0], [0.6, 0.4]]), np.array([0, 0]))
    bins = reliability(certain)
    assert bins[BINS - 1] == (1, 1.0, 1.0)
    assert bins[8] == (1, 1.0, 0.6)  # 9 / 15 is 0.6


@pytest.mark.parametrize(
    ("right", "words"), [(1.0, "less sure than"), (0.2, "more sure than"), (0.8, "about right")]
)
def test_the_diagram_says_which_way_the_model_errs(right: float, words: str) -> None:
    probabilities = np.tile([0.8, 0.2], (50, 1))
    true = (np.arange(50) >= 50 * right).astype(int)
    section = calibration_section(records_of(probabilities, true), 0.05)
    assert words in section
    assert "5.0\u202f%" in section
    assert section.count('class="bar"') == 1


def test_the_temperature_is_told_with_the_error_without_it() -> None:
    records = records_of(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    fitted = {"temperature": 1.234, "test": {"ece_before": 0.125}}
    section = calibration_section(records, 0.05, fitted)
    assert "A temperature of 1.23" in section
    assert "without it the error would be 12.5" in section
    untested = calibration_section(records, 0.05, {"temperature": 1.234, "test": None})
    assert "temperature" not in untested
