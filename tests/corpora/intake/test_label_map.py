# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.found import Found
from voxadapt.recipes.corpora.intake.label_map import apply_label_map, read_label_map


def clips(labels: str) -> Found:
    return Found([Clip(f"{n}", Path("a.wav"), label=label) for n, label in enumerate(labels)])


def test_pairs_and_files_give_the_same(tmp_path: Path) -> None:
    expected = {"W": "angry", "01": "calm", "no": "neutral", "X": ""}
    assert read_label_map("W=angry, 01=calm,no = neutral,X=") == expected
    file = tmp_path / "map.yaml"
    file.write_text("W: angry\n01: calm\nno: neutral\nX:\n")
    assert read_label_map(str(file)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("W", "'W' is no pair"),
        ("W=a,=b", "'=b' is no pair"),
        (",", "it is empty"),
        ("nowhere.yaml", "nowhere.yaml cannot be read"),
    ],
)
def test_what_is_no_map(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_label_map(text)


@pytest.mark.parametrize("content", ["- W\n- L\n", "W: [a, b]\n", "W: {a\n"])
def test_files_that_are_no_map(content: str, tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(content)
    with pytest.raises(DataError, match="--map: "):
        read_label_map(str(file))


def test_clips_are_renamed_and_left_out() -> None:
    found = clips("WWLX")
    apply_label_map(found, {"W": "angry", "L": "L", "X": "", "Q": "never"})
    assert [(clip.label, clip.columns) for clip in found.clips] == [
        ("angry", {"raw_label": "W"}),
        ("angry", {"raw_label": "W"}),
        ("L", {}),
    ]
    assert [(one.what, one.reason) for one in found.left_out] == [
        ("3", "label 'X' is left out by --map")
    ]
    assert found.notes == ["--map names labels that do not occur: Q"]


def test_labels_that_the_map_forgets_are_an_error() -> None:
    with pytest.raises(DataError, match="says nothing") as raised:
        apply_label_map(clips("WWL"), {"L": "bored"})
    assert raised.value.problems == ["'W' (2 clips): add W=NAME, or W= to leave them out"]
