# SPDX-License-Identifier: Apache-2.0
import unicodedata
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.intake.audio_lookup import AudioLookup


def tree(folder: Path, *names: str) -> AudioLookup:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return AudioLookup(folder)


@pytest.mark.parametrize(
    ("real", "name"),
    [
        ("a/x.wav", "a/x.wav"),
        ("a/x.wav", "a\\x.wav"),
        ("a/x.wav", "a/x"),
        ("a/x.flac", "a/x.wav"),
        ("a/x.wav", "a/x.mp4"),
        ("a/x.b.wav", "a/x.b"),
        ("deep/er/a/x.wav", "a/x.wav"),
        ("x.wav", "downloads/corpus/a/x.wav"),
        ("été/x.wav", unicodedata.normalize("NFD", "été/x.wav")),
        ("Dégoût/x.wav", "D‚go–t/x.wav"),
        ("A/X.WAV", "b/a/x.wav"),
    ],
)
def test_found(real: str, name: str, tmp_path: Path) -> None:
    assert tree(tmp_path, real, "other/y.wav").find(name) == tmp_path / real


def test_an_absolute_name(tmp_path: Path) -> None:
    tree(tmp_path, "x.wav")
    assert AudioLookup(tmp_path / "other").find(str(tmp_path / "x.wav")) == tmp_path / "x.wav"


def test_of_several_files_the_one_with_most_in_common_or_none(tmp_path: Path) -> None:
    lookup = tree(tmp_path, "s1/a/x.wav", "s2/a/x.wav", "s2/b/x.wav")
    assert lookup.find("root/s2/a/x.wav") == tmp_path / "s2/a/x.wav"
    assert lookup.find("a/x.wav") is None
    assert lookup.find("x.wav") is None
    assert lookup.find("y.wav") is None


def test_a_file_of_another_folder_is_another_file(tmp_path: Path) -> None:
    lookup = tree(tmp_path, "s1/001.wav", "1.wav")
    assert lookup.find("s2/001.wav") is None
    assert lookup.find("1.5") is None  # 5 is no ending of a recording


def test_one_file_is_not_found_for_two_names(tmp_path: Path) -> None:
    lookup = tree(tmp_path, "001.wav")
    assert lookup.find("s1/001.wav") == tmp_path / "001.wav"
    assert lookup.find("s1/001.wav") == tmp_path / "001.wav"
    assert lookup.find("s2/001.wav") is None


def test_what_is_no_audio_is_not_found(tmp_path: Path) -> None:
    assert tree(tmp_path, "x.txt", "y.mp4").find("x.txt") is None
    assert AudioLookup(tmp_path).find("y.mp4") is None


def test_how_it_was_found_is_kept(tmp_path: Path) -> None:
    lookup = tree(tmp_path, "a/x.flac", "a/y.wav")
    lookup.find("a/y.wav")
    lookup.find("a/x.wav")
    lookup.find("c/a/y.wav")
    assert (lookup.by_ending, lookup.by_tail) == (["a/x.wav"], ["c/a/y.wav"])
