# SPDX-License-Identifier: Apache-2.0
"""All dialects of EmoBox's lists, and what is odd about them."""

import json
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.emobox_lists import Utterance, corpus_folder, read_lists

PATH = "downloads/aesdd/anger/a03 (3).wav"
SEGMENT = {"start_time": 1917.34, "end_time": 1925.26}
JSON = {"wav": PATH, "length": 4.2, "emo": "a", "dataset": "aesdd", "channel": 1}
LINE = {"key": "k", "dataset": "aesdd", "wav": PATH, "type": "raw", "sample_rate": 44100}
LINE |= {"num_frame": 185220.0, "task": "category", "length": 4.2, "emo": "a", "channel": 1}
OLD_LINE = {"key": "k", "dataset": "aesdd", "audio": PATH, "type": "raw", "sample_rate": 44100}
OLD_LINE |= {"num_frame": 185220.0, "task": "category", "label": "a"}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        content = content if isinstance(content, list) else [content]
        path.write_text("\n".join(json.dumps(one) for one in content))
    else:
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("ending", "content", "times"),
    [
        (".json", {"k": JSON}, (None, None)),
        (".json", {"k": JSON | SEGMENT}, (1917.34, 1925.26)),
        (".jsonl", LINE, (None, None)),
        (".jsonl", OLD_LINE, (None, None)),
        (".jsonl", LINE | SEGMENT, (1917.34, 1925.26)),
    ],
)
def test_dialects(
    ending: str, content: Any, times: tuple[float | None, float | None], tmp_path: Path
) -> None:
    folder = tmp_path / "aesdd"
    write(folder / "label_dict.json", {"a": "Angry"})
    write(folder / f"fold_1/aesdd_test_fold_1{ending}", content)
    lists = read_lists(folder)
    assert lists.utterances == {"k": Utterance("k", PATH, "a", *times)}
    assert lists.folds == {"1": {"test": ["k"]}}
    assert lists.label_map == {"a": "Angry"}


def test_lists_that_are_there_twice_are_compared(tmp_path: Path) -> None:
    folder = tmp_path / "emodb"
    write(folder / "label_map.json", {"a": "Angry"})
    write(folder / "fold_1/emodb_test_fold_1.jsonl", [LINE, LINE | {"key": "l"}])
    write(folder / "fold_1/emodb_test_fold1.jsonl", OLD_LINE)
    write(folder / "fold_1/emodb_test_fold_1.json", {"k": JSON, "l": JSON | {"emo": "b"}})
    write(folder / "fold_1/emodb_train_fold_1.jsonl", [LINE | {"key": "m"}] * 2)
    lists = read_lists(folder)
    assert lists.folds == {"1": {"test": ["k", "l"], "train": ["m"]}}
    assert lists.utterances["l"].label == "a"
    notes = "\n".join(lists.notes)
    assert "emodb_test_fold1.jsonl and its twin differ in 1 utterances: 'l'" in notes
    assert "emodb_test_fold_1.json says of l 'b'" in notes
    assert "emodb_train_fold_1.jsonl lists 1 utterances twice" in notes


def test_folds_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write(tmp_path / f"x/fold_{number}/x_test_fold_{number}.jsonl", LINE | {"key": f"{number}"})
    assert list(read_lists(tmp_path / "x").folds) == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"key": "k"}', "no recording .* or no label"),
        ("no json", "line 1, cannot be read"),
        ('{"wav": "x", "emo": "a"}', "line 1, cannot be read"),
    ],
)
def test_broken_lists(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x/fold_1/x_test_fold_1.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        read_lists(tmp_path / "x")


def test_a_corpus_without_folds_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "track2/track2.jsonl", LINE)
    with pytest.raises(DataError, match="no published split of track2"):
        read_lists(tmp_path / "track2")


def test_the_folder_of_a_corpus(tmp_path: Path) -> None:
    inner = tmp_path / "data" / "cremad"
    write(inner / "fold_1/cremad_test_fold_1.jsonl", LINE)
    for root in (tmp_path, tmp_path / "data", inner):
        assert corpus_folder(root, "CREMA-D") == inner
    with pytest.raises(DataError, match="no lists of 'crema'; it has cremad; did you mean"):
        corpus_folder(tmp_path, "crema")
    with pytest.raises(DataError, match=r"there is no such folder\. Give"):
        corpus_folder(tmp_path / "nowhere", "cremad")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"it holds no such lists\. Give"):
        corpus_folder(tmp_path / "empty", "cremad")
