# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.found import LeftOut
from voxadapt.recipes.corpora.intake.manifest_writing import write_left_out, write_manifest
from voxadapt.recipes.corpora.manifest import read_manifest


def clip(folder: Path, name: str, **given: object) -> Clip:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    return Clip(name, folder / name, label="x", **given)  # type: ignore[arg-type]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    clips = [
        clip(tmp_path, 'a "b", c.wav', speaker="s1", split="test", columns={"text": "é, 日本\n2"}),
        clip(tmp_path, "a/x.wav", start=1.5, end=2.25, fold="1", columns={"age": "", "n": "7\r8"}),
    ]
    clips[0].split = None
    out = tmp_path / "m.csv"
    assert write_manifest(out, clips, [0.5, 0.75], has_ids=False) is False
    read = read_manifest(out, require_label=True).clips
    assert [one.path for one in read] == [one.path for one in clips]
    assert (read[1].start, read[1].end, read[1].fold) == (1.5, 2.25, "1")
    assert read[0].columns == {"seconds": "0.500", "text": "é, 日本\n2", "n": ""}
    assert read[1].columns["n"] == "7\r8"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", 'a "b", c.wav', "m.csv"]


def test_ids_only_where_the_source_has_them(tmp_path: Path) -> None:
    one = clip(tmp_path, "x.wav")
    one.id = "u1"
    out = tmp_path / "m.csv"
    write_manifest(out, [one], [1.0], has_ids=True)
    assert read_manifest(out).clips[0].id == "u1"
    write_manifest(out, [one], [1.0], has_ids=False)
    assert read_manifest(out).clips[0].id == "x.wav"


def test_audio_outside_is_told(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    out = tmp_path / "else" / "m.csv"
    assert write_manifest(out, [clip(tmp_path, "x.wav")], [1.0], has_ids=False)
    assert read_manifest(out, allow_outside=True).clips[0].path == tmp_path / "x.wav"


def test_a_manifest_that_cannot_be_used_is_not_written(tmp_path: Path) -> None:
    one = clip(tmp_path, "x.wav")
    out = tmp_path / "m.csv"
    out.write_text("mine")
    with pytest.raises(DataError, match="no manifest was written") as raised:
        write_manifest(out, [one, one], [1.0, 1.0], has_ids=False)
    assert "on line 2 already" in raised.value.problems[0]
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.csv", "x.wav"]


def test_the_list_of_what_was_left_out(tmp_path: Path) -> None:
    out = tmp_path / "m.csv"
    left = [LeftOut("a, b", "why"), LeftOut(b"\xff".decode("utf-8", "surrogateescape"), "name")]
    path = write_left_out(out, left)
    assert path == tmp_path / "m.left_out.csv"
    assert path.read_text(encoding="utf-8") == 'what,reason\n"a, b",why\n\\udcff,name\n'
    assert write_left_out(out, []) is None
    assert not path.exists()  # it would be about another manifest
