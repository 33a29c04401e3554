# SPDX-License-Identifier: Apache-2.0
"""Each format read back, and tables as people see them."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs
from voxadapt.prediction import describe_clip
from voxadapt.recipes.predicting.result_writers import Format, allowed_outputs, open_writer

EMOTIONS = LabelOutputs({"label": ["angry", "sad"]})
TWO = LabelOutputs({"label": ["angry", "sad"], "speaker": ["x", "y"]})
VALUES = ValueOutputs(["arousal"], [0.0], [1.0])


def written(kind: Format, outputs: Outputs, rows: Sequence[tuple[str, list[float]]]) -> str:
    """What comes out for clips with these probabilities, or values."""
    stream = io.StringIO()
    writer = open_writer(kind, stream, outputs, [Path(path) for path, _ in rows])
    for path, numbers in rows:
        exact = torch.tensor(numbers, dtype=torch.float64)
        logits = exact.log() if isinstance(outputs, LabelOutputs) else exact
        writer.write(Path(path), describe_clip(outputs, logits, 1.0, torch.zeros(1)))
    writer.close()
    return stream.getvalue()


ROWS = [("a.wav", [0.75, 0.25]), ("ü, b.wav", [0.5 - 1e-3, 0.5 + 1e-3])]


def test_json_is_a_list_and_jsonl_its_lines() -> None:
    records = json.loads(written("json", EMOTIONS, ROWS))
    lines = written("jsonl", EMOTIONS, ROWS).splitlines()
    assert [json.loads(line) for line in lines] == records
    assert [record["path"] for record in records] == ["a.wav", "ü, b.wav"]
    assert records[0]["probabilities"] == {"angry": 0.75, "sad": 0.25}
    assert json.loads(written("json", EMOTIONS, [])) == []
    assert written("jsonl", EMOTIONS, []) == ""


def test_csv_can_be_read_whatever_a_file_is_called() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", EMOTIONS, ROWS))))
    assert rows[1] == {"path": "ü, b.wav", "predicted": "sad", "angry": "0.499", "sad": "0.501"}


def test_a_table_stands_in_columns_in_per_cent() -> None:
    assert written("table", EMOTIONS, ROWS).splitlines() == [
        "path      predicted  angry    sad",
        "a.wav     angry         75.0     25.0",
        "ü, b.wav  sad           49.9     50.1",
    ]
    lines = written("table", TWO, [("a.wav", [0.75, 0.25, 0.1, 0.9])]).splitlines()
    assert lines[0].split() == [
        "path",
        "predicted",
        "angry",
        "sad",
        "speaker",
        "speaker=x",
        "speaker=y",
    ]
    assert lines[1].split() == ["a.wav", "angry", "75.0", "25.0", "y", "10.0", "90.0"]
    assert written("table", VALUES, [("a.wav", [-1.5])]).splitlines()[1].split() == [
        "a.wav",
        "-1.500",
    ]


def test_of_many_labels_a_table_shows_the_first_three() -> None:
    outputs = LabelOutputs({"label": [f"word{number}" for number in range(20)]})
    shares = [0.02] * 17 + [0.5, 0.06, 0.1]
    lines = written("table", outputs, [("a.wav", shares)]).splitlines()
    assert lines[0].split() == ["path", "predicted", "%", "and", "then"]
    assert lines[1].split(maxsplit=3) == ["a.wav", "word17", "50.0", "word19 10.0, word18 6.0"]


def test_a_long_path_loses_its_beginning() -> None:
    path = "/".join(["folder"] * 20) + "/clip.wav"
    line = written("table", EMOTIONS, [(path, [0.75, 0.25])]).splitlines()[1]
    assert line.startswith("…")
    assert "/clip.wav  angry" in line


def test_of_allowed_labels_only_those_have_columns() -> None:
    assert allowed_outputs(TWO, None) is TWO
    assert allowed_outputs(TWO, ["sad"]) == LabelOutputs({"label": ["sad"], "speaker": ["x", "y"]})
    with pytest.raises(ValueError, match="found label 'happy'"):
        allowed_outputs(TWO, ["happy"])
