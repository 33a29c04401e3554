# SPDX-License-Identifier: Apache-2.0
"""Clips from a table in any column naming."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from voxadapt.recipes.corpora.errors import DataError, some_of
from voxadapt.recipes.corpora.intake.audio_lookup import AudioLookup
from voxadapt.recipes.corpora.intake.column_guess import choose_columns
from voxadapt.recipes.corpora.intake.found import Found, LeftOut, make_clip, normalise_splits
from voxadapt.recipes.corpora.intake.table_reading import read_table
from voxadapt.recipes.corpora.manifest_columns import COLUMNS

NO_AUDIO = "there is no such audio file"
NO_LABEL = "the row has no label"


def find_in_table(
    path: Path, named: Mapping[str, str | None], audio: Path, encoding: str | None = None
) -> Found:
    """Read the clips of a table.

    Args:
        path: The table.
        named: Columns by what they hold, as `choose_columns` takes them.
        audio: The folder that its paths are relative to.
        encoding: What it is encoded in; None finds out.

    Raises:
        DataError: It cannot be read, its columns cannot be told, its splits have other names than
            those of parts, or not one of its audio files is there.
    """
    table = read_table(path, encoding)
    chosen, said = choose_columns(table, named)
    how = f"{path.name}: {len(table.rows):,} rows, {table.how}"
    found = Found(notes=[how, said], has_ids="id" in chosen)
    for line, reason in table.broken:
        found.left_out.append(LeftOut(f"line {line}", reason))
    lookup = AudioLookup(audio)
    for line, row in table.rows:
        _add_row(found, line, row, chosen, lookup)
    if not found.clips:
        raise DataError(_no_clip(path, found, audio))
    unknown = list(normalise_splits(found.clips))
    if unknown:
        raise DataError(
            f"the split column {chosen['split']!r} holds {some_of(unknown)}, which are no names of "
            "train, valid or test; rename them, or take no split by --split-column none."
        )
    for names, what in (
        (lookup.by_ending, "under another ending than the table gives"),
        (lookup.by_tail, "elsewhere below the folder, by the last parts of the path"),
    ):
        if names:
            found.notes.append(f"{len(names):,} audio files were found {what}: {some_of(names, 2)}")
    return found


def _add_row(
    found: Found, line: int, row: Mapping[str, str], chosen: Mapping[str, str], lookup: AudioLookup
) -> None:
    written = row.get(chosen["path"], "")
    fields = {meaning: row.get(column, "") for meaning, column in chosen.items()}
    fields |= further_columns(row, set(chosen.values()))
    path = lookup.find(written) if written else None
    if path is None:
        reason = NO_AUDIO if written else "the row names no audio file"
        found.left_out.append(LeftOut(written or f"line {line}", reason))
        return
    if "label" in chosen and not fields["label"]:
        found.left_out.append(LeftOut(f"line {line}: {written}", NO_LABEL))
        return
    clip_id = fields.pop("id", "") or written
    del fields["path"]
    try:
        found.clips.append(make_clip(path, clip_id, fields))
    except ValueError:
        reason = "start or end is no number of seconds"
        found.left_out.append(LeftOut(f"line {line}: {written}", reason))


def _no_clip(path: Path, found: Found, audio: Path) -> str:
    """Why a table gave no clip at all."""
    missing = [one.what for one in found.left_out if one.reason == NO_AUDIO]
    if missing and len(missing) == len(found.left_out):
        return (
            f"none of the audio files that {path} names is there: {some_of(missing, 3)}; they were "
            f"looked for in {audio}. Say where they are by --audio FOLDER, and which column names "
            "them by --path-column."
        )
    reasons = Counter(one.reason for one in found.left_out).most_common(3)
    told = "; ".join(f"{count:,} rows: {reason}" for reason, count in reasons)
    without = " Speech without labels is taken, to pretrain on, by --label-column none."
    return (
        f"no row of {path} is a clip ({told or 'it has none below its header'}). Say which column "
        "holds what by --path-column, --label-column and the like, and where audio is by --audio."
        f"{without if NO_LABEL in dict(reasons) else ''}"
    )


def further_columns(row: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """The columns that mean nothing to a manifest, under names that it does not take for its own.

    Args:
        row: Values by column.
        taken: Columns that have become something else.
    """
    return {
        f"source_{name}" if name.casefold() in (*COLUMNS, "seconds") else name: value
        for name, value in row.items()
        if name not in taken
    }
