# SPDX-License-Identifier: Apache-2.0
"""The temperature of a run: fitted on validation, kept with the model, and harmless to labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt import SpeechClassifier
from voxadapt.calibration import fit_temperature
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.finetuning.temperature import (
    activate_logits,
    calibration_errors,
    describe_calibration,
)
from voxadapt.recipes.scoring.metrics import expected_calibration_error

TWO = LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y"]}, {"emotion": 2.0})
LOGITS = np.array([[4.0, 0.0, 0.0, 1.0], [0.0, 4.0, 1.0, 0.0], [4.0, 0.0, 1.0, 0.0]])
TARGETS = np.array([[0, 1], [1, -1], [1, 0]])


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


def test_errors_are_those_with_and_without_the_temperature() -> None:
    found = calibration_errors(TWO, TARGETS, LOGITS)
    assert found.keys() == {"emotion"}  # the other has no temperature
    before, after = softmax(LOGITS[:, :2]), softmax(LOGITS[:, :2] / 2)
    emotion = found["emotion"]
    assert emotion["n"] == 3
    assert emotion["ece_before"] == pytest.approx(expected_calibration_error(before, TARGETS[:, 0]))
    assert emotion["ece_after"] == pytest.approx(expected_calibration_error(after, TARGETS[:, 0]))
    picked = after[np.arange(3), TARGETS[:, 0]]
    assert emotion["log_loss_after"] == pytest.approx(-np.log(picked).mean())
    assert emotion["log_loss_after"] < emotion["log_loss_before"]


def test_metrics_hold_both_parts_of_the_first_column_and_all_by_column() -> None:
    fitted: dict[str, dict[str, Any]] = {"emotion": {"temperature": 2.0, "valid": {"n": 9}}}
    found = describe_calibration(TWO, TARGETS, LOGITS, fitted)["calibration"]
    assert (found["temperature"], found["valid"]) == (2.0, {"n": 9})
    assert found["test"] == calibration_errors(TWO, TARGETS, LOGITS)["emotion"]
    assert found["by_column"].keys() == {"emotion"}
    assert describe_calibration(TWO, TARGETS, LOGITS, {}) == {}
    unknown = np.full_like(TARGETS, -1)
    assert describe_calibration(TWO, unknown, LOGITS, fitted)["calibration"]["test"] is None
    values = ValueOutputs(["arousal"], [0.0], [1.0])
    assert describe_calibration(values, TARGETS, LOGITS, {}) == {}


def test_a_run_keeps_its_temperature_and_says_what_it_changed(finetuned: Path) -> None:
    metrics = json.loads((finetuned / "metrics.json").read_text())
    calibration = metrics["calibration"]
    model = SpeechClassifier.from_pretrained(finetuned)
    assert isinstance(model.outputs, LabelOutputs)
    assert model.outputs.temperatures == {"label": calibration["temperature"]}
    assert calibration["temperature"] != 1
    assert calibration["valid"]["n"] == metrics["split_sizes"]["valid"]
    assert calibration["valid"]["log_loss_after"] <= calibration["valid"]["log_loss_before"]
    assert calibration["test"]["n"] == metrics["n"]
    assert calibration["test"]["ece_after"] == pytest.approx(metrics["ece"])


def test_it_is_fitted_on_the_validation_part_by_the_model_that_was_saved(
    finetuned: Path, corpus_rows: list[dict[str, str]]
) -> None:
    splits = json.loads((finetuned / "splits.json").read_text())
    rows = {row["id"]: row for row in corpus_rows}
    valid = [rows[name] for name in splits["valid"]]
    model = SpeechClassifier.from_pretrained(finetuned)
    found = model.predict([row["path"] for row in valid])
    logits = torch.stack([prediction.logits for prediction in found]).double().numpy()
    true = [model.labels.index(row["label"]) for row in valid]
    assert isinstance(model.outputs, LabelOutputs)
    # The frames of the cache are float16.
    assert model.outputs.temperatures["label"] == pytest.approx(
        fit_temperature(logits, true), abs=1e-3
    )


def test_predictions_of_a_run_have_it_in_their_probabilities(
    finetuned: Path, corpus_rows: list[dict[str, str]]
) -> None:
    paths = {row["id"]: row["path"] for row in corpus_rows}
    model = SpeechClassifier.from_pretrained(finetuned)
    lines = (finetuned / "predictions.jsonl").read_text().splitlines()
    assert lines
    for record in map(json.loads, lines):
        expected = model.predict(paths[record["id"]])
        assert record["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)
        assert record["predicted"] == model.labels[int(expected.logits.argmax())]


def test_labels_stay_whatever_the_temperature() -> None:
    logits = np.random.default_rng(0).normal(0, 20, (1_000, 4))
    for temperature in (1 / 64, 0.3, 1.7, 64.0):
        outputs = LabelOutputs({"label": list("abcd")}, {"label": temperature})
        probabilities = activate_logits(outputs, logits)
        assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()
