# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.found import Found
from voxadapt.recipes.corpora.intake.table_source import NO_AUDIO, find_in_table


def read(folder: Path, text: str, *audio: str, **named: str) -> Found:
    for name in audio:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    table = folder / "t.csv"
    table.write_text(text, encoding="utf-8")
    return find_in_table(table, named, folder)


def test_every_row_is_a_clip_or_is_listed(tmp_path: Path) -> None:
    text = "file,emotion,start,end\na.wav,x,0,1.5\na.wav,y,1.5,2\nno.wav,x,,\n"
    text += ",x,,\na.wav,x,now,\na,b\na.wav,,2,3\n"
    found = read(tmp_path, text, "a.wav")
    assert [(clip.label, clip.start, clip.end) for clip in found.clips] == [
        ("x", 0.0, 1.5),
        ("y", 1.5, 2.0),
    ]
    assert [(one.what, one.reason) for one in found.left_out] == [
        ("line 7", "it has 2 fields where the header names 4"),
        ("no.wav", NO_AUDIO),
        ("line 5", "the row names no audio file"),
        ("line 6: a.wav", "start or end is no number of seconds"),
        ("line 8: a.wav", "the row has no label"),
    ]


def test_further_columns_stay_and_do_not_pass_for_others(tmp_path: Path) -> None:
    text = "path,label,mood,Speaker,seconds,age\na.wav,1,sad,ann,2.0,30\n"
    found = read(tmp_path, text, "a.wav", label="mood", speaker="none")
    assert found.clips[0].label == "sad"
    assert found.clips[0].speaker is None
    assert found.clips[0].columns == {
        "source_label": "1",
        "source_Speaker": "ann",
        "source_seconds": "2.0",
        "age": "30",
    }


def test_ids_and_splits(tmp_path: Path) -> None:
    text = "wav,label,utt_id,set\na.wav,x,u1,Training\nb.wav,y,,DEV\n"
    found = read(tmp_path, text, "a.wav", "b.wav")
    assert [(clip.id, clip.split) for clip in found.clips] == [("u1", "train"), ("b.wav", "valid")]
    assert found.has_ids
    with pytest.raises(DataError, match=r"split column 'set' holds 'fold_3'.*--split-column none"):
        read(tmp_path, "wav,label,set\na.wav,x,fold_3\n", "a.wav")


def test_audio_found_elsewhere_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, "path,label\nx/a.wav,1\nb.mp3,2\n", "deep/x/a.wav", "b.wav")
    assert Counter(clip.label for clip in found.clips) == {"1": 1, "2": 1}
    text = " ".join(found.notes)
    assert "1 audio files were found under another ending than the table gives: 'b.mp3'" in text
    assert "1 audio files were found elsewhere below the folder" in text


def test_no_audio_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a.wav'; they were looked for in .*--audio FOLDER"):
        read(tmp_path, "path,label\na.wav,1\n")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.wav,\na.wav,\n", r"no row of .*t\.csv is a clip \(2 rows: the row has no label\)"),
        ("", r"is a clip \(it has none below its header\)"),
        ("no.wav,x\n", r"none of the audio files that .*t\.csv names is there: 'no\.wav'"),
    ],
)
def test_why_a_table_gives_no_clip(rows: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, f"path,label\n{rows}", "a.wav")


def test_a_table_without_a_column_of_audio_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column could be told to hold the path"):
        read(tmp_path, "path,label\na.wav,x\n", "a.wav", path="none")
