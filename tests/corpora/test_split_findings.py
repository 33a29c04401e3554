# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.split_findings import split_findings


def clips(*known: dict[str, Any]) -> list[Clip]:
    return [Clip(f"{n}", **({"path": Path(f"{n}.wav")} | what)) for n, what in enumerate(known)]


def kinds(found: list[Clip], **options: Any) -> list[tuple[str, str]]:
    return [(one.severity, one.kind) for one in split_findings(found, **options)]


def text(split: str, said: str, **known: str) -> dict[str, Any]:
    return {"split": split, "columns": {"text": said}, **known}


@pytest.mark.parametrize("column", ["split", "fold"])
def test_speakers_of_two_parts(column: str) -> None:
    parts = {"split": ("train", "test"), "fold": ("1", "2")}[column]
    apart = clips({column: parts[0], "speaker": "a"}, {column: parts[1], "speaker": "b"})
    shared = clips(
        {column: parts[0], "speaker": "a"}, *({column: parts[1], "speaker": s} for s in "ab")
    )
    assert kinds(apart) == []
    (found,) = split_findings(shared)
    assert (found.severity, found.kind) == ("error", "speaker overlap")
    assert f"column {column}: 1 of the 2 speakers of {parts[1]} are also in {parts[0]}: 'a'" == (
        found.message
    )
    assert kinds(shared, allow_speaker_overlap=True) == [("note", "speaker overlap")]


@pytest.mark.parametrize(("end", "severity"), [(3.5, "error"), (2.1, "warning")])
def test_segments_of_two_parts_that_overlap(end: float, severity: str) -> None:
    file = {"path": Path("a.wav")}
    found = clips(
        {"split": "train", "start": 0.0, "end": end, **file},
        {"split": "test", "start": 2.0, "end": 4.0, **file},
        {"split": "test", "start": 4.0, "end": 9.0, **file},
    )
    (one,) = split_findings(found)
    assert (one.severity, one.kind) == (severity, "audio overlap")
    assert "column split: 1 of the 2 clips of test" in one.message
    assert f"by up to {(end - 2) / 2:.0%} of their length: '1'" in one.message


def test_texts_of_two_parts() -> None:
    twins = clips(text("train", "Guten Tag!"), text("test", "guten  TAG"), text("test", "Nein."))
    (found,) = split_findings(twins)
    assert (found.severity, found.kind) == ("warning", "text twins")
    assert "1 of the 2 texts of test are also in train (text; in test: '1')" in found.message
    assert kinds(clips(text("train", "a"), text("test", "b"), text("test", ""))) == []
    assert kinds(clips(text("train", ""), text("test", ""))) == []


def test_scripted_corpora_cannot_help_it() -> None:
    said = [text(split, "one sentence") for split in ("train", "train", "train", "test")]
    assert kinds(clips(*said)) == [("note", "text twins")]


def test_a_text_column_of_ones_own() -> None:
    said = [{"split": split, "columns": {"said": "hello"}} for split in ("train", "test")]
    assert kinds(clips(*said)) == []
    assert kinds(clips(*said), text_column="said") == [("warning", "text twins")]


def test_labels_that_a_part_lacks() -> None:
    parts = clips(
        {"split": "train", "label": "a"},
        {"split": "train", "label": "b"},
        {"split": "test", "label": "a"},
        {"split": "test", "label": "c"},
    )
    never, unscored = split_findings(parts)
    assert (never.severity, never.kind) == ("error", "label never in train")
    assert "label 'c' is in test (1 clips)" in never.message
    assert (unscored.severity, unscored.kind) == ("warning", "label never scored")
    assert unscored.message == "test has no clip of 'b'"


def test_speakers_that_are_not_known_or_written_in_two_ways() -> None:
    assert kinds(clips({"speaker": "a"}, {})) == [("warning", "no speaker")]
    assert kinds(clips({}, {})) == []
    assert kinds(clips({"speaker": "S_1"}, {"speaker": "s1"})) == [("warning", "speaker spelling")]
    assert kinds(clips({"speaker": "s11"}, {"speaker": "s1"})) == []
