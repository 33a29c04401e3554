# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.folder_source import find_in_folders


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_class_folders_and_what_lies_beside(tmp_path: Path) -> None:
    names = ("sad/x.wav", "happy/y.ogg", "z.wav", "sad/v.mp4", "sad/x.m4a")  # x is converted
    found = find_in_folders(make(tmp_path, *names))
    assert {(clip.id, clip.label) for clip in found.clips} == {
        ("sad/x.wav", "sad"),
        ("happy/y.ogg", "happy"),
    }
    assert {(one.what, one.reason.split(";")[0]) for one in found.left_out} == {
        ("z.wav", "lies in no class folder"),
        ("sad/v.mp4", ".mp4 is not read here"),
    }


def test_folders_of_parts_are_splits(tmp_path: Path) -> None:
    names = [f"{part}/{label}/x.wav" for part in ("Train", "dev", "test") for label in "ab"]
    found = find_in_folders(make(tmp_path, *names))
    assert [(clip.id, clip.split, clip.label) for clip in found.clips][:2] == [
        ("Train/a/x.wav", "train", "a"),
        ("Train/b/x.wav", "train", "b"),
    ]
    assert {clip.split for clip in found.clips} == {"train", "valid", "test"}
    assert "taken as its splits" in found.notes[0]


def test_folders_within_one_folder(tmp_path: Path) -> None:
    found = find_in_folders(make(tmp_path, "c/audio/a/x.wav", "c/audio/b/y.wav", "table.csv"))
    assert [clip.id for clip in found.clips] == ["c/audio/a/x.wav", "c/audio/b/y.wav"]
    assert found.clips[0].path == tmp_path / "c/audio/a/x.wav"
    assert "those in c/audio/" in found.notes[0]
    assert "table.csv lies there too" in found.notes[1]


def test_manifests_that_were_made_here_are_not_offered(tmp_path: Path) -> None:
    names = ["manifest.csv", "x.manifest.csv", "manifest.left_out.csv", "a/x.wav", "b/y.wav"]
    assert find_in_folders(make(tmp_path, *names)).notes == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x.wav", "a/y.wav"], "one class ('a')"),
        (["x.wav"], "no audio in class folders"),
        ([], "(no files)"),
    ],
)
def test_what_is_no_folder_of_classes(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        find_in_folders(make(tmp_path, *names))
    assert message in str(raised.value)
    assert "--pattern" in str(raised.value)
    assert "a table of its files with --label-column none" in str(raised.value)
