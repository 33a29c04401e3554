# SPDX-License-Identifier: Apache-2.0
"""Scores and records of labels of one column or several, and of values."""

import json
from pathlib import Path

import numpy as np
import pytest

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.scoring.part_scores import score_part
from voxadapt.recipes.scoring.regression_metrics import regression_metrics
from voxadapt.recipes.scoring.target_scores import (
    prediction_record,
    score_names,
    score_outputs,
    selection_name,
    selection_score,
    unknown_label_notes,
    validation_scores,
)

ONE = LabelOutputs({"emotion": ["a", "b"]})
TWO = LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y", "z"]})
VALUES = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
TRUE = np.array([[0, 2], [1, -1], [1, 0], [0, -1]])
PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.1, 0.2, 0.7],
        [0.6, 0.4, 0.4, 0.3, 0.3],
        [0.2, 0.8, 0.1, 0.8, 0.1],
        [0.8, 0.2, 1.0, 0.0, 0.0],
    ]
)
SPEAKERS = ["s", "s", "t", None]
SECONDS = [1.0, 2.0, 3.0, 4.0]


def test_one_column_gives_what_score_part_gives() -> None:
    found = score_outputs(ONE, TRUE[:, :1], PROBABILITIES[:, :2], SPEAKERS, SECONDS)
    expected = score_part(["a", "b"], TRUE[:, 0], PROBABILITIES[:, :2], SPEAKERS, SECONDS)
    assert found == expected
    assert score_names(found) == ("ua", "wa", "macro_f1")
    assert selection_score(found) == selection_name(ONE) == "ua"


def test_each_further_column_is_scored_where_its_label_is_known() -> None:
    found = score_outputs(TWO, TRUE, PROBABILITIES, SPEAKERS, SECONDS)
    first = score_part(["a", "b"], TRUE[:, 0], PROBABILITIES[:, :2], SPEAKERS, SECONDS)
    assert found == {**first, "by_column": found["by_column"]}
    assert found["by_column"]["emotion"] == first
    speaker = found["by_column"]["speaker"]
    assert (speaker["n"], speaker["wa"], speaker["labels"]) == (2, 0.5, ["x", "y", "z"])
    assert list(speaker["by_speaker"]) == ["s", "t"]
    json.dumps(found)

    unknown = np.stack([TRUE[:, 0], np.full(4, -1)], axis=1)
    found = score_outputs(TWO, unknown, PROBABILITIES, SPEAKERS, SECONDS)
    assert found["by_column"]["speaker"] is None
    assert found["by_column"]["emotion"] == first


def test_the_validation_part_s_entry_names_columns_after_the_first() -> None:
    entry = validation_scores(TWO, TRUE, PROBABILITIES)
    assert list(entry)[:5] == [
        "valid_loss",
        "valid_ua",
        "valid_wa",
        "valid_macro_f1",
        "valid_ua_error",
    ]
    assert entry["valid_wa"] == 0.75
    assert entry["valid_speaker_wa"] == 0.5
    assert entry["valid_speaker_loss"] == pytest.approx(-np.log([0.7, 0.1]).mean())
    assert validation_scores(ONE, TRUE[:, :1], PROBABILITIES[:, :2]) == {
        name: value for name, value in entry.items() if "speaker" not in name
    }
    unknown = np.stack([TRUE[:, 0], np.full(4, -1)], axis=1)
    assert not any("speaker" in name for name in validation_scores(TWO, unknown, PROBABILITIES))


def test_values_are_scored_by_concordance() -> None:
    random = np.random.default_rng(0)
    true = random.standard_normal((20, 2))
    predicted = true + 0.5 * random.standard_normal((20, 2))
    entry = validation_scores(VALUES, true, predicted)
    metrics = regression_metrics(VALUES.names, true, predicted)
    assert entry["valid_ccc"] == metrics["ccc"]
    assert entry["valid_loss"] == 1 - metrics["ccc"]
    assert 0 < entry["valid_ccc_error"] < 0.2
    found = score_outputs(VALUES, true, predicted, [None] * 20, [1.0] * 20)
    assert found["task"] == "regression"
    assert found["dimensions"] == ["arousal", "valence"]
    assert {name: found[name] for name in metrics} == metrics
    assert found["ci95"]["ccc"][0] < found["ccc"] < found["ci95"]["ccc"][1]
    assert score_names(found) == ("ccc", "pearson", "mae")
    assert selection_score(found) == selection_name(VALUES) == "ccc"
    constant = validation_scores(VALUES, true, np.zeros((20, 2)))
    assert constant["valid_pearson"] == 0.0  # and not None, which no log takes


def test_records_of_clips() -> None:
    clip = Clip(
        "c", Path("c.wav"), label="b", speaker="q", columns={"arousal": "2", "valence": "3"}
    )
    assert prediction_record(ONE, clip, np.array([0.25, 0.75])) == {
        "id": "c",
        "label": "b",
        "predicted": "b",
        "probabilities": {"a": 0.25, "b": 0.75},
    }
    record = prediction_record(TWO, clip, np.array([0.25, 0.75, 0.5, 0.25, 0.25]))
    assert record["predicted"] == record["columns"]["emotion"]["predicted"] == "b"
    assert record["columns"]["speaker"] == {
        "label": "q",
        "predicted": "x",
        "probabilities": {"x": 0.5, "y": 0.25, "z": 0.25},
    }
    assert prediction_record(VALUES, clip, np.array([1.0, 1 / 3])) == {
        "id": "c",
        "values": {"arousal": 2.0, "valence": 3.0},
        "predicted": {"arousal": 1.0, "valence": 0.333333},
    }


def test_what_is_not_scored_is_said() -> None:
    parts = {"train": [0], "valid": [2], "test": [1, 3]}
    (note,) = unknown_label_notes(TWO, TRUE, parts)
    assert "2 of 2 clips of test have a label in the column 'speaker' that train does not" in note
    assert "not scored on them" in note
    assert unknown_label_notes(ONE, TRUE[:, :1], parts) == []
    assert unknown_label_notes(VALUES, TRUE, parts) == []
