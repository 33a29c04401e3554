# SPDX-License-Identifier: Apache-2.0
"""Files that `timeline` writes for each recording, planned before anything is computed."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from voxadapt.adapters.written_aside import write_aside
from voxadapt.outputs import Outputs, ValueOutputs
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.reporting.picture import save_figure
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.timelines.picture import draw_timeline
from voxadapt.timeline import Timeline
from voxadapt.timeline_files import (
    audacity_labels,
    timeline_record,
    write_segments,
    write_windows,
)

Kind = Literal["windows", "segments", "json", "audacity", "png", "svg"]
ENDINGS: dict[Kind, str] = {
    "windows": ".windows.csv",
    "segments": ".segments.csv",
    "json": ".json",
    "audacity": ".labels.txt",
    "png": ".png",
    "svg": ".svg",
}
# What there is of labels only.
_OF_LABELS = ("segments", "audacity")


def choose_kinds(outputs: Outputs, asked: Sequence[Kind], given: bool) -> list[Kind]:
    """The kinds of files that there can be of a model.

    Args:
        outputs: What the model's outputs mean.
        asked: The kinds.
        given: Whether the user asked for them, or they are the usual ones.

    Raises:
        UsageError: The user asked for segments of a model of values.
    """
    if not isinstance(outputs, ValueOutputs):
        return list(asked)
    wrong = [kind for kind in asked if kind in _OF_LABELS]
    if wrong and given:
        raise UsageError(
            f"--write {' '.join(wrong)}: this model gives values ({', '.join(outputs.names)}), "
            "which have no segments of one label; use windows, json, png or svg"
        )
    return [kind for kind in asked if kind not in wrong]


def plan_stems(files: Iterable[tuple[Path, Path]], out: Path) -> dict[Path, Path]:
    """Where the files of each recording go, without their endings.

    Args:
        files: Each recording, and what of its path is kept below `out`.
        out: The folder.

    Raises:
        UsageError: Two recordings would share their files.
    """
    stems: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path, kept in files:
        stem = out / kept.with_suffix("")
        if taken.setdefault(stem, path) != path:
            raise UsageError(
                f"--out {out}: {taken[stem]} and {path} would both be written to {stem}.*; give "
                "them in two calls with two folders"
            )
        stems[path] = stem
    return stems


def check_free(stems: Iterable[Path], kinds: Sequence[Kind], columns: Sequence[str]) -> None:
    """Refuse to write over files.

    Raises:
        UsageError: Some are there already.
    """
    there = [
        str(path)
        for stem in stems
        for kind in kinds
        for path in file_names(stem, kind, columns).values()
        if path.exists()
    ]
    if there:
        raise UsageError(
            f"--out: {some_of(there, 3)} are there already; nothing was overwritten. Give another "
            "folder, or add --overwrite"
        )


def file_names(stem: Path, kind: Kind, columns: Sequence[str]) -> dict[str | None, Path]:
    """The files of a kind: one, or one for each label column where one can hold no more."""
    if kind == "audacity" and len(columns) > 1:
        return {name: _with_ending(stem, f".{_in_a_name(name)}{ENDINGS[kind]}") for name in columns}
    return {None: _with_ending(stem, ENDINGS[kind])}


def write_files(timeline: Timeline, stem: Path, kinds: Sequence[Kind]) -> list[Path]:
    """Write a recording's files, each there whole or not at all.

    Returns:
        The files.

    Raises:
        UsageError: They cannot be written there.
    """
    written = []
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            for column, path in file_names(stem, kind, list(timeline.columns)).items():
                if kind in ("png", "svg"):
                    save_figure(draw_timeline(timeline), path)
                else:
                    content = timeline_text(timeline, kind, column).encode()
                    write_aside(path, content)
                written.append(path)
    except OSError as error:
        raise UsageError(f"--out {stem.parent}: cannot be written ({error})") from None
    return written


def timeline_text(timeline: Timeline, kind: Kind, column: str | None = None) -> str:
    """What a file of a kind that is text holds."""
    if kind == "json":
        return json.dumps(timeline_record(timeline), ensure_ascii=False, indent=1) + "\n"
    if kind == "audacity":
        return audacity_labels(timeline, column)
    write: Callable[[Timeline, io.StringIO], None] = (
        write_windows if kind == "windows" else write_segments
    )
    stream = io.StringIO()
    write(timeline, stream)
    return stream.getvalue()


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _in_a_name(column: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in column)
