# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.column_guess import choose_columns
from voxadapt.recipes.corpora.intake.table_reading import Table


def table(*columns: str, **values: str) -> Table:
    row = {name: values.get(name, "x") for name in columns}
    return Table(list(columns), [(2, row)])


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (("path", "label"), {"path": "path", "label": "label"}),
        (
            ("FileName", "EmoClass", "SpkrID", "Split_Set"),
            {"path": "FileName", "label": "EmoClass", "speaker": "SpkrID", "split": "Split_Set"},
        ),
        (
            ("client_id", "audio path", "Emotion", "utt-id", "start_time", "end_time"),
            {
                "path": "audio path",
                "label": "Emotion",
                "speaker": "client_id",
                "id": "utt-id",
                "start": "start_time",
                "end": "end_time",
            },
        ),
        # A label of its own name goes before an emotion, a path before a name.
        (("name", "emotion", "label", "wav_file"), {"path": "wav_file", "label": "label"}),
        (("fold", "file", "class"), {"path": "file", "label": "class", "fold": "fold"}),
    ],
)
def test_names_that_people_give(columns: tuple[str, ...], chosen: dict[str, str]) -> None:
    paths = dict.fromkeys(columns, "x") | {chosen["path"]: "a.wav"}
    found, said = choose_columns(table(*columns, **paths), {})
    assert found == chosen
    for meaning, column in chosen.items():
        assert f"{meaning} from {column!r} (by its name)" in said


def test_a_column_of_audio_files_is_known_by_its_values() -> None:
    found, said = choose_columns(table("Aufnahme", "emotion", Aufnahme="x/a.FLAC"), {})
    assert found == {"path": "Aufnahme", "label": "emotion"}
    assert "path from 'Aufnahme' (by the audio files it names)" in said
    # `name` is a weak word: a column that holds audio files wins.
    found, _ = choose_columns(table("name", "where", "emotion", name="Ann", where="a.wav"), {})
    assert found["path"] == "where"
    found, _ = choose_columns(table("name", "emotion", name="a"), {})  # names without endings
    assert found["path"] == "name"


def test_what_is_named_is_taken_and_none_is_nothing() -> None:
    given = table("path", "label", "mood", "speaker", path="a.wav")
    found, said = choose_columns(given, {"label": "mood", "speaker": "none"})
    assert found == {"path": "path", "label": "mood"}
    assert "label from 'mood'," in said


def test_the_folds_may_be_the_speakers() -> None:
    found, _ = choose_columns(table("path", "label", "spk", path="a.wav"), {"fold": "spk"})
    assert found == {"path": "path", "label": "label", "speaker": "spk", "fold": "spk"}


def test_a_name_that_is_not_there_and_one_that_cannot_be_told() -> None:
    with pytest.raises(DataError, match=r"--label-column mod: there is no such column.*'mood'"):
        choose_columns(table("path", "mood"), {"label": "mod"})
    with pytest.raises(DataError, match=r"hold the label; name it by --label-column.*'mood'"):
        choose_columns(table("path", "mood", path="a.wav"), {})
    with pytest.raises(DataError, match=r"hold the path; name it by --path-column"):
        choose_columns(table("x", "label"), {})
