# SPDX-License-Identifier: Apache-2.0
"""Which column of a table is what: as the user says, else by the names that people give."""

import re
from collections.abc import Mapping, Sequence

from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS
from voxadapt.recipes.corpora.errors import DataError, did_you_mean
from voxadapt.recipes.corpora.intake.table_reading import Table

NOT_TAKEN = "none"
"""In place of a column's name: take none."""

# Most telling first. Names are compared in lower case and without _, -, space and dot.
_NAMES: dict[str, Sequence[str]] = {
    "path": (
        *("path", "audiopath", "filepath", "wavpath", "audiofile", "wavfile", "filename"),
        *("file", "audio", "wav", "clip", "recording", "sound", "fname", "name", "url"),
    ),
    "label": (
        *("label", "emotion", "emo", "emoclass", "emotionlabel", "labelemotion", "class"),
        *("category", "target", "majoremotion", "sentiment", "intent", "keyword", "command"),
        "word",
    ),
    "speaker": (
        *("speaker", "speakerid", "spk", "spkid", "spkrid", "spkr", "actor", "actorid"),
        *("speakername", "subject", "subjectid", "clientid", "participant", "participantid"),
        "userid",
    ),
    "split": ("split", "splitset", "set", "subset", "partition", "part", "usage"),
    "fold": ("fold", "foldid", "cvfold", "folds"),
    "id": ("id", "uttid", "utteranceid", "utterance", "uid", "key", "clipid", "segmentid"),
    "start": ("start", "starttime", "startsec", "startseconds", "begin", "begintime", "onset"),
    "end": ("end", "endtime", "endsec", "endseconds", "stop", "stoptime"),
}


def choose_columns(table: Table, named: Mapping[str, str | None]) -> tuple[dict[str, str], str]:
    """Choose the column for each thing that a manifest knows.

    Args:
        table: The table.
        named: Columns that the user names, by `path`, `label`, `speaker`, `split`, `fold`, `id`,
            `start` and `end`; None leaves the choice to this function, `none` takes none.

    Returns:
        Names of columns by those words, and a sentence that says which were taken, and how.

    Raises:
        DataError: A column that is named is not there, or none can be found for `path` or `label`.
    """
    chosen: dict[str, str] = {}
    said = []
    for meaning in _NAMES:
        name = named.get(meaning)
        if name == NOT_TAKEN:
            continue
        if name is not None:
            chosen[meaning] = _named(table, meaning, name)
            said.append(f"{meaning} from {chosen[meaning]!r}")
    for meaning, words in _NAMES.items():
        if named.get(meaning) is not None:
            continue
        # A column that is to be the folds may be another thing as well, such as the speaker.
        taken = {column for one, column in chosen.items() if one != "fold"}
        free = [name for name in table.columns if name not in taken]
        guess = _guess(free, words)
        how = "by its name"
        if meaning == "path" and (guess is None or not _looks_like_audio(table, guess)):
            seen = next((name for name in free if _looks_like_audio(table, name)), None)
            guess, how = (seen, "by the audio files it names") if seen else (guess, how)
        if guess is not None:
            chosen[meaning] = guess
            said.append(f"{meaning} from {guess!r} ({how})")
    for meaning in ("path", "label"):
        if meaning not in chosen and (meaning == "path" or named.get(meaning) != NOT_TAKEN):
            without = ", or take none, for speech to pretrain on, by --label-column none"
            raise DataError(
                f"no column could be told to hold the {meaning}; name it by --{meaning}-column"
                f"{without if meaning == 'label' else ''}. "
                f"The columns are: {', '.join(map(repr, table.columns))}."
            )
    return chosen, "columns taken: " + ", ".join(said)


def _named(table: Table, meaning: str, name: str) -> str:
    if name in table.columns:
        return name
    raise DataError(
        f"--{meaning}-column {name}: there is no such column; the columns are: "
        f"{', '.join(map(repr, table.columns))}{did_you_mean(name, table.columns)}"
    )


def _guess(columns: Sequence[str], words: Sequence[str]) -> str | None:
    plain = {re.sub(r"[\W_]+", "", name).casefold(): name for name in reversed(columns)}
    return next((plain[word] for word in words if word in plain), None)


def _looks_like_audio(table: Table, column: str) -> bool:
    """Whether most of a column's first values end as audio files do."""
    values = [row.get(column, "") for _, row in table.rows[:100]]
    audio = sum(value.lower().endswith(AUDIO_EXTENSIONS) for value in values)
    return 2 * audio > len(values)
