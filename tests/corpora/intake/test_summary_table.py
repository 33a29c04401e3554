# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.intake.found import LeftOut
from voxadapt.recipes.corpora.intake.summary_table import summarise, summarise_left_out


def clip(label: str, speaker: str | None, split: str | None, fold: str | None) -> Clip:
    return Clip("a", Path("a"), label=label, speaker=speaker, split=split, fold=fold)


def test_clips_hours_speakers_and_classes_by_part() -> None:
    clips = [
        clip("x", "s1", "train", "10"),
        clip("y", "s1", "train", "2"),
        clip("x", "s2", "test", "2"),
    ]
    lines = summarise(clips, [3600.0, 1800.0, 900.0]).splitlines()
    assert [line.split() for line in lines] == [
        ["clips", "hours", "speakers", "classes", "x", "y"],
        [*lines[1].split()],
        ["train", "2", "1.50", "1", "2", "1", "1"],
        ["test", "1", "0.25", "1", "1", "1", "0"],
        ["fold", "2", "2", "0.75", "2", "2", "1", "1"],
        ["fold", "10", "1", "1.00", "1", "1", "1", "0"],
        ["all", "3", "1.75", "2", "2", "2", "1"],
    ]
    assert set(lines[1]) == {"-", " "}


def test_unknown_speakers_and_many_classes() -> None:
    clips = [clip(f"c{number}", None, None, None) for number in range(13)]
    lines = summarise(clips, [1.0] * 13).splitlines()
    assert lines[0].split() == ["clips", "hours", "speakers", "classes"]
    assert lines[2].split() == ["all", "13", "0.00", "?", "13"]


def test_what_was_left_out_is_counted_by_reason() -> None:
    left = [LeftOut(f"f{n}", "bad name") for n in range(1_200)] + [LeftOut("g", "empty")]
    lines = summarise_left_out(left).splitlines()
    assert [line.strip() for line in lines] == [
        "1,200  bad name, such as f0",
        "1  empty, such as g",
    ]
    many = [LeftOut("f", f"reason {number}") for number in range(10)]
    assert summarise_left_out(many).splitlines()[-1].strip() == "2  for 2 other reasons"
