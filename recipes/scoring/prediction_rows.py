# SPDX-License-Identifier: Apache-2.0
"""What ``predict`` prints of a file: a JSON object, or a row of a table."""

from pathlib import Path
from typing import Any

from voxadapt.outputs import Outputs, ValueOutputs
from voxadapt.prediction import Prediction
from voxadapt.recipes.corpora.manifest_paths import printable

DIGITS = 6


def json_record(path: Path, prediction: Prediction) -> dict[str, Any]:
    """What is printed of a file as JSON.

    Returns:
        ``path``, and ``predicted`` and ``probabilities`` of the first label column, with each
        column's in ``columns`` where there are several; or ``path`` and ``values``. Where it was
        asked for, ``frame_weights`` with ``times`` (seconds) and ``weights`` by head.
    """
    heard = _heard(prediction)
    if prediction.values:
        return {"path": printable(str(path)), "values": _rounded(prediction.values), **heard}
    record: dict[str, Any] = {
        "path": printable(str(path)),
        "predicted": prediction.label,
        "probabilities": _rounded(prediction.probabilities),
    }
    if len(prediction.columns) > 1:
        record["columns"] = {
            name: {"predicted": _most_probable(shares), "probabilities": _rounded(shares)}
            for name, shares in prediction.columns.items()
        }
    return {**record, **heard}


def csv_header(outputs: Outputs) -> list[str]:
    """Names of the table's columns.

    Of the first label column, ``predicted`` and each label; of a further one, its name and
    ``name=label``; of values, the dimensions.
    """
    if isinstance(outputs, ValueOutputs):
        return ["path", *outputs.names]
    header = ["path", "predicted", *outputs.labels]
    for name, labels in list(outputs.columns.items())[1:]:
        header += [name, *(f"{name}={label}" for label in labels)]
    return header


def csv_row(path: Path, prediction: Prediction) -> list[Any]:
    """What stands under `csv_header` of a file."""
    if prediction.values:
        return [printable(str(path)), *_rounded(prediction.values).values()]
    row: list[Any] = [printable(str(path))]
    for shares in prediction.columns.values():
        row += [_most_probable(shares), *_rounded(shares).values()]
    return row


def _heard(prediction: Prediction) -> dict[str, Any]:
    found = prediction.frame_weights
    if found is None:
        return {}
    times = [round(time, 4) for time in found.times.tolist()]
    weights = [[round(weight, DIGITS) for weight in head] for head in found.weights.tolist()]
    return {"frame_weights": {"times": times, "weights": weights}}


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(number, DIGITS) for name, number in numbers.items()}


def _most_probable(shares: dict[str, float]) -> str:
    return max(shares, key=lambda label: shares[label])
