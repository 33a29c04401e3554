# SPDX-License-Identifier: Apache-2.0
"""What a label map says, and that nothing in it passes unread."""

from collections.abc import Callable
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.scoring.label_map import LabelMap, apply_lines, read_label_map

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_text(text: str) -> str:
        path = tmp_path / "map.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_text


def make_clips(labels: str) -> list[Clip]:
    return [
        Clip(id=f"c{row}", path=Path(f"{row}.wav"), label=label)
        for row, label in enumerate(labels.split())
    ]


def test_lines_and_sections_are_read(write: Write) -> None:
    path = write("anger: angry\nfear: null\nemodb: {W: angry, F: ~}\nЯрость: angry\n")
    found = read_label_map(path)
    assert found.lines == {"anger": "angry", "fear": None, "Ярость": "angry"}
    assert found.of_corpus("emodb") == {**found.lines, "W": "angry", "F": None}
    assert found.of_corpus("other") == found.lines
    assert read_label_map(None) == LabelMap("")


def test_labels_are_text_whatever_yaml_makes_of_them(write: Write) -> None:
    found = read_label_map(write("no: yes\n01: 1.0\n'null': \"null\"\n2: on\n"))
    assert found.lines == {"no": "yes", "01": "1.0", "null": "null", "2": "on"}


def test_a_sections_line_comes_before_the_one_for_all(write: Write) -> None:
    found = read_label_map(write("calm: null\nravdess: {calm: neutral}\n"))
    assert found.of_corpus("ravdess")["calm"] == "neutral"
    assert found.of_corpus("emodb")["calm"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must hold lines such as"),
        ("- anger\n", "must hold lines such as"),
        ("anger: [angry]\n", "line 1: must be a label"),
        ("a: b\n? [x]\n: y\n", "line 2: must be a label"),
        ("emodb: {W: {F: x}}\n", "line 1: must be a label"),
        ("a: b\na: c\n", "'a' is there twice"),
        ("emodb: {W: a, W: b}\n", "emodb.W is there twice"),
        ("a: {b\n", "is not YAML"),
        ("'': a\n", "must be a label"),
    ],
)
def test_what_is_no_label_map_is_refused(text: str, told: str, write: Write) -> None:
    path = write(text)
    with pytest.raises(UsageError) as caught:
        read_label_map(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"--label-map {path}")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_label_map(str(tmp_path / "none.yaml"))


def test_clips_get_our_labels_and_those_left_out_are_counted() -> None:
    clips = make_clips("anger fear angry fear joy")
    lines = {"anger": "angry", "fear": None, "joy": "happy"}
    kept, left_out = apply_lines(clips, lines, ["angry", "happy"], "m.csv", "map.yaml")
    assert [(clip.id, clip.label) for clip in kept] == [
        ("c0", "angry"),
        ("c2", "angry"),
        ("c4", "happy"),
    ]
    assert left_out == {"fear": 2}


def test_labels_can_be_swapped() -> None:
    kept, _ = apply_lines(make_clips("a b"), {"a": "b", "b": "a"}, ["a", "b"], "m.csv", "x")
    assert [clip.label for clip in kept] == ["b", "a"]


def test_labels_that_the_model_does_not_know_are_refused() -> None:
    clips = make_clips("angry fear fear disgust")
    with pytest.raises(UsageError) as caught:
        apply_lines(clips, {"disgust": None}, ["angry", "happy"], "m.csv", "x")
    told = str(caught.value)
    assert "m.csv: 2 clips have labels that are none of the model's (angry, happy): 'fear'" in told
    assert "`fear: null`" in told
    with pytest.raises(UsageError, match=r"'anger' is none of the model's labels.*'angry'"):
        apply_lines(clips, {"fear": "anger"}, ["angry", "happy"], "m.csv", "x")
    with pytest.raises(UsageError, match=r"leaves out every clip of m.csv"):
        apply_lines(make_clips("a a"), {"a": None}, ["b"], "m.csv", "x")


def test_lines_for_labels_that_nobody_has_are_refused(write: Write) -> None:
    found = read_label_map(write("angr: angry\nemodb: {X: sad}\n"))
    with pytest.raises(UsageError, match=r"no clip has the label angr; .* did you mean 'anger'"):
        found.check_lines(["anger", "sad"])
    found.check_lines(["angr"])
    with pytest.raises(UsageError, match=r"no clip has the label emodb.X; the labels are W"):
        found.check_section("emodb", ["W"])
    found.check_section("other", ["W"])
    with pytest.raises(UsageError, match=r"the section 'emodb' belongs to no corpus.*emo_db"):
        found.check_corpora(["emo_db", "iemocap"])
    found.check_corpora(["emodb"])
