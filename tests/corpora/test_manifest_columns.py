# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from voxadapt.recipes.corpora.manifest_columns import RowReader, column_problems


@pytest.fixture
def reader(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").touch()
    (tmp_path / "audio" / "b.wav").touch()

    def make(label="label", require_label=False, allow_outside=False):
        return RowReader(
            str(tmp_path), label=label, require_label=require_label, allow_outside=allow_outside
        )

    return make


def only_problem(reader, **row):
    clip = reader.read(2, {"path": "audio/a.wav", **row})
    assert clip is None
    assert len(reader.problems) == 1
    assert reader.problems[0].startswith("line 2: ")
    return reader.problems[0]


@pytest.mark.parametrize(
    ("columns", "label", "require", "messages"),
    [
        (["path"], "label", False, []),
        (["path", "label", "note"], "label", True, []),
        (["paths", "label"], "label", False, ["'path'", "'paths', 'label'", "mean 'paths'"]),
        (["path", "lable"], "label", True, ["'label'", "did you mean 'lable'"]),
        (["path", "speaker"], "speakr", False, ["'speakr'", "did you mean 'speaker'"]),
        (["path", "Speaker"], "label", False, ["'Speaker' must be written 'speaker'"]),
        (["path", "Speaker"], "Speaker", True, []),
    ],
)
def test_column_names(columns, label, require, messages):
    problems = column_problems(columns, label, require_label=require)
    assert len(problems) == bool(messages)
    for message in messages:
        assert message in problems[0]


def test_all_columns_of_a_clip(reader, tmp_path):
    row = {
        "path": "audio/a.wav",
        "id": "x1",
        "start": "0.5",
        "end": "2",
        "label": "happy",
        "speaker": "s1",
        "split": "valid",
        "fold": "3",
        "word": "yes",
    }
    clip = reader().read(2, row)
    assert (clip.id, clip.path) == ("x1", tmp_path / "audio" / "a.wav")
    assert (clip.start, clip.end, clip.label) == (0.5, 2.0, "happy")
    assert (clip.speaker, clip.split, clip.fold) == ("s1", "valid", "3")
    assert clip.columns == {"word": "yes"}


def test_empty_and_absent_values_are_none(reader):
    clip = reader().read(2, {"path": "audio/a.wav", "label": "", "start": "", "speaker": ""})
    assert (clip.label, clip.start, clip.end, clip.speaker) == (None, None, None, None)
    assert (clip.split, clip.fold, clip.columns) == (None, None, {})


def test_another_column_as_label_keeps_the_label_column(reader):
    clip = reader(label="word").read(2, {"path": "audio/a.wav", "label": "happy", "word": "yes"})
    assert clip.label == "yes"
    assert clip.columns == {"label": "happy"}


def test_speaker_as_label_stays_the_speaker(reader):
    clip = reader(label="speaker").read(2, {"path": "audio/a.wav", "speaker": "s1"})
    assert (clip.label, clip.speaker) == ("s1", "s1")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("", "", "audio/a.wav"),
        ("1", "2.5", "audio/a.wav#1.0-2.5"),
        ("1", "", "audio/a.wav#1.0-"),
        ("", "2.5", "audio/a.wav#0.0-2.5"),
        ("1234.56781", "1234.56789", "audio/a.wav#1234.56781-1234.56789"),
    ],
)
def test_default_id(reader, start, end, expected):
    clip = reader().read(2, {"path": "audio/a.wav", "start": start, "end": end})
    assert clip.id == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"start": "abc"}, "start is 'abc'"),
        ({"end": "nan"}, "end is 'nan'"),
        ({"start": "-1"}, "start is '-1'"),
        ({"end": "inf"}, "end is 'inf'"),
        ({"start": "2", "end": "2"}, "end must be after start"),
        ({"start": "3", "end": "2.5"}, "end is 2.5 s and start 3 s"),
        ({"end": "0"}, "end must be after start"),
        ({"split": "dev"}, "did you mean 'valid'"),
        ({"split": "Training"}, "did you mean 'train'"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"split": "xyz"}, "allowed are train, valid, test"),
        ({"path": ""}, "path is empty"),
        ({"path": "audio"}, "is a folder"),
        ({"path": "audio/c.wav"}, "does not exist"),
        ({"path": "audio\\a.wav"}, "write / instead of"),
        ({"path": "audio/a\0.wav"}, "does not exist"),
    ],
)
def test_problems_of_a_row(reader, row, message):
    assert message in only_problem(reader(), **row)


def test_empty_label_only_matters_when_required(reader):
    assert "label column 'label' is empty" in only_problem(reader(require_label=True), label="")
    assert reader().read(2, {"path": "audio/a.wav", "label": ""}) is not None


def test_every_problem_of_a_line_is_named(reader):
    read = reader()
    read.read(2, {"path": "audio/a.wav", "id": "same"})
    assert read.read(3, {"path": "no.wav", "id": "same", "split": "dev", "start": "x"}) is None
    assert len(read.problems) == 4


def test_missing_audio_is_named_on_every_line(reader):
    read = reader()
    read.read(2, {"path": "no.wav", "id": "1"})
    read.read(3, {"path": "no.wav", "id": "2"})
    assert [problem[:6] for problem in read.problems] == ["line 2", "line 3"]
    assert all("does not exist" in problem for problem in read.problems)


def test_ids_are_unique(reader):
    read = reader()
    read.read(2, {"path": "audio/a.wav"})
    read.read(3, {"path": "audio/a.wav", "start": "1"})
    read.read(4, {"path": "audio/a.wav"})
    read.read(5, {"path": "audio/b.wav", "id": "audio/a.wav"})
    assert len(read.problems) == 2
    assert "'audio/a.wav' is on line 2 already; remove one" in read.problems[0]
    assert "id 'audio/a.wav' is on line 2 already" in read.problems[1]


@pytest.mark.parametrize("form", ["relative", "absolute", "sibling"])
def test_audio_outside_of_the_folder(tmp_path, form):
    folder = tmp_path / "corpus"
    other = tmp_path / ("corpus2" if form == "sibling" else "elsewhere")
    folder.mkdir()
    other.mkdir()
    (other / "a.wav").touch()
    path = os.path.join("..", other.name, "a.wav") if form == "relative" else str(other / "a.wav")
    options = {"label": "label", "require_label": False}
    strict = RowReader(str(folder), allow_outside=False, **options)
    assert strict.read(2, {"path": path}) is None
    assert "--allow-outside" in strict.problems[0]
    clip = RowReader(str(folder), allow_outside=True, **options).read(2, {"path": path})
    assert clip.path == other / "a.wav"


def test_detours_inside_of_the_folder_are_fine(reader, tmp_path):
    assert reader().read(2, {"path": "audio/../audio/./a.wav"}).path == tmp_path / "audio/a.wav"
    assert reader().read(2, {"path": str(tmp_path / "audio/a.wav")}) is not None
