# SPDX-License-Identifier: Apache-2.0
"""Files are planned before anything is computed: none is written over, no two share a name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.timelines.outputs import (
    ENDINGS,
    check_free,
    choose_kinds,
    file_names,
    plan_stems,
    write_files,
)
from voxadapt.timeline import Timeline

LABELS = LabelOutputs({"emotion": ["angry", "sad"]})
VALUES = ValueOutputs(["arousal"], [0.0], [1.0])


def test_values_have_no_segments() -> None:
    assert choose_kinds(LABELS, ["segments", "png"], True) == ["segments", "png"]
    assert choose_kinds(VALUES, ["windows", "segments", "audacity"], False) == ["windows"]
    assert choose_kinds(VALUES, ["windows", "svg"], True) == ["windows", "svg"]
    with pytest.raises(UsageError, match="--write segments audacity: this model gives values"):
        choose_kinds(VALUES, ["windows", "segments", "audacity"], True)


def test_sub_folders_are_kept_and_shared_names_refused() -> None:
    files = [(Path("in/a/1.wav"), Path("a/1.wav")), (Path("in/b/1.wav"), Path("b/1.wav"))]
    assert plan_stems(files, Path("out")) == {
        Path("in/a/1.wav"): Path("out/a/1"),
        Path("in/b/1.wav"): Path("out/b/1"),
    }
    with pytest.raises(
        UsageError, match=r"1\.wav and .*1\.flac would both be written to out/1\.\*"
    ):
        plan_stems([(Path("1.wav"), Path("1.wav")), (Path("1.flac"), Path("1.flac"))], Path("out"))


def test_files_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    check_free([tmp_path / "call"], list(ENDINGS), ["emotion"])
    (tmp_path / "call.labels.txt").touch()
    check_free([tmp_path / "call"], ["json", "png"], ["emotion"])
    with pytest.raises(UsageError, match=r"call\.labels\.txt.* nothing was overwritten"):
        check_free([tmp_path / "call"], ["json", "audacity"], ["emotion"])


def test_a_track_holds_one_column() -> None:
    assert file_names(Path("call"), "audacity", ["emotion"]) == {None: Path("call.labels.txt")}
    assert file_names(Path("call.v2"), "audacity", ["emotion", "who/what"]) == {
        "emotion": Path("call.v2.emotion.labels.txt"),
        "who/what": Path("call.v2.who_what.labels.txt"),
    }
    assert file_names(Path("call.v2"), "json", ["a", "b"]) == {None: Path("call.v2.json")}


def test_all_kinds_are_written(make_timeline: Callable[..., Timeline], tmp_path: Path) -> None:
    stem = tmp_path / "new" / "call"
    written = write_files(make_timeline(), stem, list(ENDINGS))
    assert [path.name for path in written] == [f"call{ending}" for ending in ENDINGS.values()]
    assert sorted(path.name for path in stem.parent.iterdir()) == sorted(
        path.name for path in written
    )
    assert json.loads(stem.with_suffix(".json").read_text())["seconds"] == 20
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in stem.with_suffix(".svg").read_text()[:1_000]
    assert (tmp_path / "new" / "call.windows.csv").read_text().startswith("path,start,end,from,to")
    assert (tmp_path / "new" / "call.segments.csv").read_text().count("\n") > 5
    assert (tmp_path / "new" / "call.labels.txt").read_text().count("\t") > 10


def test_where_nothing_can_be_written(
    make_timeline: Callable[..., Timeline], tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_files(make_timeline(), tmp_path / "taken" / "call", ["json"])
