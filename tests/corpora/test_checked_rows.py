# SPDX-License-Identifier: Apache-2.0
"""Bad rows are listed with their lines, and the others are read as ever."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.checked_rows import read_checked
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import read_manifest


@pytest.fixture
def manifest(tmp_path: Path, zoo: Any) -> Callable[..., Path]:
    (tmp_path / "a.wav").write_bytes(zoo.wave_bytes(zoo.tone(16_000)))
    (tmp_path / "b.wav").write_bytes(zoo.wave_bytes(zoo.tone(16_000)))

    def write(*lines: str, name: str = "m.csv") -> Path:
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return tmp_path / name

    return write


def test_a_good_manifest_is_what_read_manifest_reads(corpus: Path) -> None:
    checked = read_checked(corpus, allow_outside=True)
    assert [clip for _, clip in checked.clips] == read_manifest(corpus, allow_outside=True).clips
    assert checked.findings == []
    assert [row.line for row in checked.rows] == list(range(2, 2 + len(checked.rows)))


def test_bad_rows_stop_nothing(manifest: Callable[..., Path]) -> None:
    path = manifest(
        "path,label,split,start,end",
        "a.wav,x,train,,",
        "gone.wav,x,train,,",
        "a.wav,x,dev,0.1,",
        "a.wav,x,test,3,2",
        "a.wav,x,too,many,fields,here",
        "../outside.wav,x,test,,",
        "a.wav,x,train,,",
        ",x,,,",
        "b.wav,y,test,,",
    )
    checked = read_checked(path)
    assert [clip.id for _, clip in checked.clips] == ["a.wav", "b.wav"]
    found = [(one.line, one.kind, one.row) for one in checked.findings]
    assert sorted(found, key=lambda one: one[0] or 0) == [
        (3, "missing", 1),
        (4, "manifest", 2),
        (5, "manifest", 3),
        (6, "manifest", None),
        (7, "manifest", 4),
        (8, "manifest", 5),
        (9, "manifest", 6),
    ]
    for finding in checked.findings:
        assert finding.severity == "error"
        assert finding.message
        assert finding.advice
        assert not finding.message.startswith("line 4:")
        assert finding.leave_out == (finding.row is not None)
    assert [checked.rows[index].name for index in (0, 1)] == ["a.wav", "gone.wav"]


def test_jsonl_and_missing_columns(manifest: Callable[..., Path]) -> None:
    path = manifest('{"path": "a.wav"}', "no json", '{"path": "b.wav", "end": 0.2}', name="m.jsonl")
    checked = read_checked(path)
    assert len(checked.clips) == 2
    assert [finding.line for finding in checked.findings] == [2]
    wrong = manifest("path,Speaker", "a.wav,s1")
    assert "must be written 'speaker'" in read_checked(wrong).findings[0].message


@pytest.mark.parametrize(
    ("lines", "label", "told"),
    [
        (["file,label", "a.wav,x"], "label", "there is no column 'path'"),
        ([], "label", "cannot be checked"),
        (["path,label", "a.wav,x"], "mood", "there is no column 'mood'"),
    ],
)
def test_what_gives_no_rows_at_all(
    manifest: Callable[..., Path], lines: list[str], label: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        read_checked(manifest(*lines), label=label)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_checked(tmp_path / "m.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be checked"):
        read_checked(tmp_path / "empty")


def test_class_folders(tmp_path: Path, manifest: Callable[..., Path]) -> None:
    (tmp_path / "corpus" / "happy").mkdir(parents=True)
    os.rename(tmp_path / "a.wav", tmp_path / "corpus/happy/a.wav")
    os.rename(tmp_path / "b.wav", tmp_path / "corpus/b.wav")
    checked = read_checked(tmp_path / "corpus")
    assert [row.values for row in checked.rows] == [{"path": "happy/a.wav", "label": "happy"}]
    assert checked.rows[0].line is None
    assert [finding.message for finding in checked.findings] == ["'b.wav' lies in no class"]


def test_a_link_back_to_the_corpus_puts_no_other_class_into_one(
    tmp_path: Path, manifest: Callable[..., Path]
) -> None:
    for label, name in (("happy", "a.wav"), ("sad", "b.wav")):
        (tmp_path / "corpus" / label).mkdir(parents=True)
        os.rename(tmp_path / name, tmp_path / "corpus" / label / name)
        (tmp_path / "corpus" / label / "back").symlink_to("..")
    checked = read_checked(tmp_path / "corpus")
    assert [clip.id for _, clip in checked.clips] == ["happy/a.wav", "sad/b.wav"]
