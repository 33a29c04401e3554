# SPDX-License-Identifier: Apache-2.0
"""What the columns of a manifest mean: a row of text becomes a clip, or a list of problems."""

import math
import os
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import did_you_mean

SPLITS = ("train", "valid", "test")
COLUMNS = ("path", "id", "start", "end", "label", "speaker", "split", "fold")
"""The columns with a meaning of their own; all others are kept as they are."""

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
    """

    def __init__(
        self, folder: str, *, label: str, require_label: bool, allow_outside: bool
    ) -> None:
        self.problems: list[str] = []
        self._folder = folder
        self._label = label
        self._require_label = require_label
        self._allow_outside = allow_outside
        self._resolved: dict[str, Path | str] = {}  # as written -> absolute, or its problem
        self._line_of_id: dict[str, int] = {}
        self._texts: dict[str, str] = {}

    def read(self, line: int, row: dict[str, str]) -> Clip | None:
        """Return the clip of a row, or None where the row has a problem."""
        before = len(self.problems)
        written = row.get("path", "")
        path = self._path(line, written)
        # Every check runs whatever the ones before found: a line with two mistakes says both.
        start, end = self._segment(line, row)
        split = self._split(line, row.get("split", ""))
        label = row.get(self._label) or None
        if label is None and self._require_label:
            self._add(line, f"the label column {self._label!r} is empty; every clip needs a label")
        clip_id = row.get("id") or _default_id(written, start, end)
        self._check_new(line, clip_id, given=bool(row.get("id")))
        if len(self.problems) > before or path is None:
            return None
        further = {
            name: value
            for name, value in row.items()
            if name != self._label and (name not in COLUMNS or name == "label")
        }
        return Clip(
            id=clip_id,
            path=path,
            start=start,
            end=end,
            label=self._same(label),
            speaker=self._same(row.get("speaker")),
            split=split,
            fold=self._same(row.get("fold")),
            columns=further,
        )

    def _same(self, text: str | None) -> str | None:
        """One object for all clips with the same text: a corpus has few labels and speakers."""
        return self._texts.setdefault(text, text) if text else None

    def _add(self, line: int, problem: str) -> None:
        self.problems.append(f"line {line}: {problem}")

    def _path(self, line: int, written: str) -> Path | None:
        if not written:
            self._add(line, "path is empty; name an audio file")
            return None
        if written not in self._resolved:
            # Links are not followed: folders of links (the cache of the Hugging Face hub is one)
            # keep a manifest beside its audio only by the names of the links.
            absolute = os.path.normpath(os.path.join(self._folder, written))
            self._resolved[written] = self._path_problem(written, absolute) or Path(absolute)
        path = self._resolved[written]
        if isinstance(path, str):
            self._add(line, path)
            return None
        return path

    def _path_problem(self, written: str, absolute: str) -> str:
        inside = absolute.startswith(os.path.join(self._folder, ""))
        if not inside and not self._allow_outside:
            return (
                f"path {written!r} leads out of the manifest's folder {self._folder}; move the "
                "audio into it, or allow it by --allow-outside"
            )
        if os.path.isfile(absolute):
            return ""
        if os.path.isdir(absolute):
            return f"path {written!r} is a folder; name an audio file"
        slashes = "; write / instead of \\" if "\\" in written else ""
        return f"path {written!r} does not exist (looked in {self._folder}){slashes}"

    def _segment(self, line: int, row: dict[str, str]) -> tuple[float | None, float | None]:
        start = self._seconds(line, "start", row.get("start", ""))
        end = self._seconds(line, "end", row.get("end", ""))
        if end is not None and end <= (start or 0.0):
            self._add(
                line, f"end is {end:g} s and start {start or 0.0:g} s; end must be after start"
            )
        return start, end

    def _seconds(self, line: int, name: str, text: str) -> float | None:
        if not text:
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds) or seconds < 0:
            self._add(line, f"{name} is {text!r}; write seconds from 0 up, such as 1.25")
            return None
        return seconds

    def _split(self, line: int, split: str) -> str | None:
        if not split or split in SPLITS:
            return SPLITS[SPLITS.index(split)] if split else None
        meant = _SPLITS_ELSEWHERE.get(split.casefold())
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(split, SPLITS)
        self._add(line, f"split is {split!r}; allowed are {', '.join(SPLITS)}{hint}")
        return None

    def _check_new(self, line: int, clip_id: str, *, given: bool) -> None:
        first = self._line_of_id.setdefault(clip_id, line)
        if first == line or not clip_id:
            return
        if given:
            self._add(line, f"id {clip_id!r} is on line {first} already; ids must be unique")
        else:
            self._add(
                line,
                f"the clip {clip_id!r} is on line {first} already; remove one, or tell them apart "
                "by start and end, or by an id column",
            )


def _default_id(written: str, start: float | None, end: float | None) -> str:
    if start is None and end is None:
        return written
    return f"{written}#{start or 0.0}-{'' if end is None else end}"
