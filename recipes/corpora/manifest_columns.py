# SPDX-License-Identifier: Apache-2.0
"""What the columns of a manifest mean: a row of text becomes a clip, or a list of problems."""

import math
import re
from collections.abc import Iterable
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import did_you_mean
from voxadapt.recipes.corpora.manifest_paths import AudioPaths, printable, shown

SPLITS = ("train", "valid", "test")
COLUMNS = ("path", "id", "start", "end", "label", "speaker", "split", "fold")
"""The columns with a meaning of their own; all others are kept as they are."""

_SPLIT_OF = {name: name for name in SPLITS}  # one object for each, whoever made the text
_SPLITS_ELSEWHERE = {
    "dev": "valid",
    "development": "valid",
    "val": "valid",
    "validation": "valid",
    "eval": "test",
    "evaluation": "test",
    "training": "train",
    "testing": "test",
}


def split_meant_by(name: str) -> str | None:
    """Return train, valid or test for a name of it that is in use elsewhere, else None."""
    folded = name.casefold()
    return folded if folded in SPLITS else _SPLITS_ELSEWHERE.get(folded)


def splits_of_names(names: Iterable[str]) -> dict[str, str | None]:
    """Return the split that each name begins with, as `train` of train-00001.tar.

    Where all begin with train, nothing is known: such a corpus has no parts yet.
    """
    found = {name: split_meant_by(re.split(r"[._\-\[]", name)[0]) for name in names}
    return dict.fromkeys(found) if set(found.values()) == {"train"} else found


def says_splits(values: Iterable[str]) -> bool:
    """Whether a column called split is about train, valid and test, and not about something else.

    Args:
        values: What stands in it; empty where nothing is said.
    """
    said = set(values) - {""}
    return bool(said) and all(split_meant_by(value) for value in said)


def column_problems(columns: list[str], label: str, *, require_label: bool) -> list[str]:
    """Return what is wrong with the names of a manifest's columns.

    Args:
        columns: The names that were found.
        label: The name of the column that holds the labels.
        require_label: Whether that column must be there. It must be in any case when it was asked
            for by another name than `label`.
    """
    problems = []
    needed = ["path", label] if require_label or label != "label" else ["path"]
    named = ", ".join(repr(name) for name in columns) or "none"
    for name in needed:
        if name not in columns:
            holds = "audio files" if name == "path" else "labels"
            problems.append(
                f"there is no column {name!r} to take the {holds} from; the columns are: {named}"
                f"{did_you_mean(name, columns)}"
            )
    folded = {name.casefold(): name for name in columns}
    for name in COLUMNS:
        near = folded.get(name)
        # A column `Speaker` must not pass for one of the further columns: the split would then
        # be made as though speakers were unknown.
        if near not in (None, label) and name not in columns and name not in needed:
            problems.append(f"column {near!r} must be written {name!r}")
    return problems


class RowReader:
    """Turns rows into clips and collects what is wrong with them.

    Args:
        folder: Where the manifest lies (absolute): paths are relative to it.
        label: The name of the column that holds the labels.
        require_label: Whether each row must have a label.
        allow_outside: Whether audio may lie outside of `folder`.

    Attributes:
        problems: All problems so far, one sentence each.
        unlabelled: Those of them that say that a label is missing.
    """

    def __init__(
        self, folder: str, *, label: str, require_label: bool, allow_outside: bool
    ) -> None:
        self.problems: list[str] = []
        self.unlabelled: list[str] = []
        self._label = label
        self._require_label = require_label
        self._paths = AudioPaths(folder, allow_outside=allow_outside)
        self._line_of_id: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._further_of: dict[tuple[str, ...], list[str]] = {}

    def read(self, line: int, row: dict[str, str]) -> Clip | None:
        """Return the clip of a row, or None where the row has a problem."""
        before = len(self.problems)
        written = row.get("path", "")
        path = self._path(line, written)
        # Every check runs whatever the ones before found: a line with two mistakes says both.
        start, end = self._segment(line, row.get("start"), row.get("end"))
        split = self._split(line, row.get("split"))
        label = row.get(self._label) or None
        if label is None and self._require_label:
            self._add(line, f"the label column {self._label!r} is empty; every clip needs a label")
            self.unlabelled.append(self.problems[-1])
        given = row.get("id")
        clip_id = given or _default_id(written, start, end)
        if self._line_of_id.setdefault(clip_id, line) != line:
            self._add_twin(line, clip_id, given=bool(given))
        if len(self.problems) > before or path is None:
            return None
        return Clip(
            id=clip_id,
            path=path,
            start=start,
            end=end,
            label=self._same(label),
            speaker=self._same(row.get("speaker")),
            split=split,
            fold=self._same(row.get("fold")),
            columns={name: row[name] for name in self._further(tuple(row))},
        )

    def _further(self, names: tuple[str, ...]) -> list[str]:
        """Those columns of a row that have no meaning of their own."""
        if names not in self._further_of:
            self._further_of[names] = [
                name
                for name in names
                if name != self._label and (name not in COLUMNS or name == "label")
            ]
        return self._further_of[names]

    def _same(self, text: str | None) -> str | None:
        """One object for all clips with the same text: a corpus has few labels and speakers."""
        return self._texts.setdefault(text, text) if text else None

    def _add(self, line: int, problem: str) -> None:
        self.problems.append(f"line {line}: {problem}")

    def _path(self, line: int, written: str) -> Path | None:
        if not written:
            self._add(line, "path is empty; name an audio file")
            return None
        path = self._paths.find(written)
        if isinstance(path, str):
            self._add(line, path)
            return None
        return path

    def _segment(
        self, line: int, start_text: str | None, end_text: str | None
    ) -> tuple[float | None, float | None]:
        start = self._seconds(line, "start", start_text) if start_text else None
        end = self._seconds(line, "end", end_text) if end_text else None
        if end is not None and end <= (start or 0.0):
            self._add(
                line, f"end is {end:g} s and start {start or 0.0:g} s; end must be after start"
            )
        return start, end

    def _seconds(self, line: int, name: str, text: str) -> float | None:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds) or seconds < 0:
            self._add(line, f"{name} is {shown(text)}; write seconds from 0 up, such as 1.25")
            return None
        return seconds

    def _split(self, line: int, split: str | None) -> str | None:
        if not split:
            return None
        known = _SPLIT_OF.get(split)
        if known is None:
            meant = split_meant_by(split)
            hint = f"; did you mean {meant!r}?" if meant else did_you_mean(split, SPLITS)
            self._add(line, f"split is {shown(split)}; allowed are {', '.join(SPLITS)}{hint}")
        return known

    def _add_twin(self, line: int, clip_id: str, *, given: bool) -> None:
        if not clip_id:
            return  # its path is empty, which is a problem already
        first = self._line_of_id[clip_id]
        if given:
            self._add(line, f"id {shown(clip_id)} is on line {first} already; ids must be unique")
        else:
            self._add(
                line,
                f"the clip {shown(clip_id)} is on line {first} already; remove one, or tell them "
                "apart by start and end, or by an id column",
            )


def _default_id(written: str, start: float | None, end: float | None) -> str:
    if not written.isascii():  # the bytes of a name that is no UTF-8, which no result could be
        written = printable(written)  # written with
    if start is None and end is None:
        return written
    return f"{written}#{start or 0.0}-{'' if end is None else end}"
