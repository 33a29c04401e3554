# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.corpus_source import Intake, corpora_table, read_intake
from voxadapt.recipes.corpora.intake.description import known_names
from voxadapt.recipes.corpora.intake.found import Found
from voxadapt.recipes.corpora.intake.options import InitDataOptions
from voxadapt.recipes.running.command_line import UsageError

PATTERN = "{speaker}_{label}_{take}.wav"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("s1_sad_1.wav", "s1_mad_2.wav", "s2_sad_1.wav"):
        (tmp_path / "rec").mkdir(exist_ok=True)
        (tmp_path / "rec" / name).touch()
    (tmp_path / "rec" / "t.csv").write_text("path,emotion,session\ns1_sad_1.wav,sad,A\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "out", "clips"),
    [
        ({"source": "rec", "pattern": PATTERN}, "rec/manifest.csv", 3),
        ({"source": "rec", "pattern": PATTERN, "out": "o.csv"}, "o.csv", 3),
        ({"source": "rec", "pattern": PATTERN, "map": "sad=x,mad="}, "rec/manifest.csv", 2),
        ({"source": "rec/t.csv"}, "rec/t.manifest.csv", 1),
    ],
)
def test_sources_and_where_their_manifests_go(
    options: dict[str, str], out: str, clips: int, folder: Path
) -> None:
    intake = read_intake(InitDataOptions(**options))  # type: ignore[arg-type]
    assert intake.out == Path(out)
    assert len(intake.found.clips) == clips
    assert folder / "rec/s1_sad_1.wav" in [clip.path for clip in intake.found.clips]


def test_columns_become_folds_or_are_dropped(folder: Path) -> None:
    given = {"source": "rec", "pattern": PATTERN}

    def fields(**more: str) -> list[tuple[str | None, str | None]]:
        clips = read_intake(InitDataOptions(**given, **more)).found.clips  # type: ignore[arg-type]
        return sorted((clip.speaker, clip.fold) for clip in clips if clip.label == "sad")

    assert fields() == [("s1", None), ("s2", None)]
    assert fields(fold_column="take") == [("s1", "1"), ("s2", "1")]
    assert fields(fold_column="speaker") == [("s1", "s1"), ("s2", "s2")]
    assert fields(speaker_column="none") == [(None, None)] * 2
    with pytest.raises(UsageError, match=r"--fold-column takes: .* the columns are speaker, take"):
        fields(fold_column="takes")
    intake = read_intake(InitDataOptions("rec/t.csv", fold_column="session"))
    assert intake.found.clips[0].fold == "A"


@pytest.mark.parametrize(
    ("option", "value"), [("label_column", "x"), ("speaker_column", "x"), ("audio", "rec")]
)
def test_options_of_tables_are_refused_elsewhere(option: str, value: str, folder: Path) -> None:
    options = InitDataOptions("rec", pattern=PATTERN, **{option: value})  # type: ignore[arg-type]
    flag = "--" + option.replace("_", "-")
    with pytest.raises(UsageError, match=f"{flag}: it is about a table, and rec is none"):
        read_intake(options)


def test_what_serves_for_no_source(folder: Path) -> None:
    with pytest.raises(UsageError, match="name a folder or a table"):
        read_intake(InitDataOptions())
    with pytest.raises(UsageError, match="did you mean 'rec'"):
        read_intake(InitDataOptions("recs"))
    with pytest.raises(UsageError, match="takes the folder of the corpus"):
        read_intake(InitDataOptions("rec/t.csv", corpus="emodb"))
    with pytest.raises(UsageError, match="leave it out for a table"):
        read_intake(InitDataOptions("rec/t.csv", pattern=PATTERN))
    with pytest.raises(DataError, match="all clips are left out"):
        read_intake(InitDataOptions("rec", pattern=PATTERN, map="sad=,mad="))


def test_the_table_has_every_corpus() -> None:
    lines = corpora_table().splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(known_names())]] == known_names()


def test_names_of_several_manifests() -> None:
    intake = Intake(Found(), Path("a/emobox-x.csv"))
    assert intake.out_of("") == Path("a/emobox-x.csv")
    assert intake.out_of("-test2") == Path("a/emobox-x-test2.csv")
