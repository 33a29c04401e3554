# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch

from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs
from voxadapt.prediction import Prediction, describe_clip
from voxadapt.recipes.scoring.prediction_rows import csv_header, csv_row, json_record

CLIP = Path("clip.wav")


def predict(outputs: Outputs, numbers: list[float]) -> Prediction:
    """What a model says whose probabilities, or values, are `numbers`."""
    exact = torch.tensor(numbers, dtype=torch.float64)
    logits = exact.log() if isinstance(outputs, LabelOutputs) else exact
    return describe_clip(outputs, logits, 1.0, torch.zeros(1))


def test_one_column_of_labels() -> None:
    outputs = LabelOutputs({"label": ["a", "b"]})
    prediction = predict(outputs, [0.75, 0.25])
    assert json_record(CLIP, prediction) == {
        "path": "clip.wav",
        "predicted": "a",
        "probabilities": {"a": 0.75, "b": 0.25},
    }
    assert csv_header(outputs) == ["path", "predicted", "a", "b"]
    assert csv_row(CLIP, prediction) == ["clip.wav", "a", 0.75, 0.25]


def test_several_columns() -> None:
    outputs = LabelOutputs({"label": ["a", "b"], "style": ["x", "y"]})
    prediction = predict(outputs, [0.75, 0.25, 0.125, 0.875])
    record = json_record(CLIP, prediction)
    assert record["predicted"] == "a"
    assert record["columns"] == {
        "label": {"predicted": "a", "probabilities": {"a": 0.75, "b": 0.25}},
        "style": {"predicted": "y", "probabilities": {"x": 0.125, "y": 0.875}},
    }
    assert csv_header(outputs) == ["path", "predicted", "a", "b", "style", "style=x", "style=y"]
    assert csv_row(CLIP, prediction) == ["clip.wav", "a", 0.75, 0.25, "y", 0.125, 0.875]


def test_values() -> None:
    outputs = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
    prediction = predict(outputs, [1.5, 1 / 3])
    assert json_record(CLIP, prediction) == {
        "path": "clip.wav",
        "values": {"arousal": 1.5, "valence": 0.333333},
    }
    assert csv_header(outputs) == ["path", "arousal", "valence"]
    assert csv_row(CLIP, prediction) == ["clip.wav", 1.5, 0.333333]
