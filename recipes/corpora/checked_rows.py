# SPDX-License-Identifier: Apache-2.0
"""A manifest read row by row for checking: a bad row is listed with its line and stops nothing."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from voxadapt.recipes.corpora.class_folders import read_class_folders
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.manifest import is_container, read_manifest
from voxadapt.recipes.corpora.manifest_columns import COLUMNS, RowReader, column_problems
from voxadapt.recipes.corpora.manifest_rows import read_rows

_LINE = re.compile(r"line (\d+):? ")


@dataclass
class CheckedRow:
    """One row of a manifest, or one file of a folder of classes.

    Attributes:
        line: Its line in the manifest; None in a folder.
        values: What stands in it, by column.
        clip: The clip; None where the row has a problem.
    """

    line: int | None
    values: dict[str, str]
    clip: Clip | None

    @property
    def name(self) -> str:
        """What the row is called: the clip's id, or what stands where one would come from."""
        if self.clip is not None:
            return self.clip.id
        return self.values.get("id") or self.values.get("path", "")


@dataclass
class CheckedManifest:
    """All that could be read of a manifest.

    Attributes:
        source: The manifest as it was named by the user.
        columns: Its columns, in order.
        rows: Its rows, in order.
        findings: Rows and lines that cannot be used, and what is wrong with the columns.
    """

    source: str
    columns: list[str]
    rows: list[CheckedRow]
    findings: list[Finding] = field(default_factory=list)

    @property
    def clips(self) -> list[tuple[int, Clip]]:
        """Indices of the rows that are clips, and the clips."""
        return [(index, row.clip) for index, row in enumerate(self.rows) if row.clip is not None]


def read_checked(
    source: str | os.PathLike[str], *, label: str = "label", allow_outside: bool = False
) -> CheckedManifest:
    """Read a manifest, or a folder of classes, and keep what `read_manifest` would refuse.

    Args:
        source: The `.csv` or `.jsonl` file, or the folder.
        label: The column that holds the labels. Another than `label` must be there.
        allow_outside: Whether audio may lie outside of the manifest's folder.

    Raises:
        DataError: There is no such file, or no row can be taken from it for want of a header, of
            the column `path`, or of the label column that was asked for.
    """
    if is_container(os.fspath(source)):
        return _read_container(os.fspath(source), label)
    place = Path(os.path.abspath(source))
    if place.is_dir() and label == "label":
        return _read_folder(place, os.fspath(source))
    if not place.is_file():  # which is said, and what else lies there, or that classes are labels
        read_manifest(source, label=label)
    found = read_rows(place, plain={*COLUMNS, label})
    problems = column_problems(found.columns, label, require_label=False)
    needed = {"path", label} if label != "label" else {"path"}
    if not needed <= set(found.columns):
        raise DataError(
            f"the manifest {os.fspath(source)!r} cannot be checked:", [*found.problems, *problems]
        )
    checked = CheckedManifest(os.fspath(source), found.columns, [])
    checked.findings += [_problem(told) for told in [*found.problems, *problems]]
    reader = RowReader(
        str(place.parent), label=label, require_label=False, allow_outside=allow_outside
    )
    for index, (line, values) in enumerate(found.rows):
        before = len(reader.problems)
        row = CheckedRow(line, values, reader.read(line, values))
        checked.rows.append(row)
        checked.findings += [
            _problem(told, index, row.name, line) for told in reader.problems[before:]
        ]
    return checked


def _read_folder(folder: Path, source: str) -> CheckedManifest:
    clips, problems = read_class_folders(folder)
    if not clips:
        raise DataError(f"the folder {source!r} cannot be checked:", problems or ["it is empty"])
    rows = [
        CheckedRow(
            None,
            {"path": clip.path.relative_to(folder).as_posix(), "label": clip.label or ""},
            clip,
        )
        for clip in clips
    ]
    return CheckedManifest(source, ["path", "label"], rows, [_problem(told) for told in problems])


def _read_container(source: str, label: str) -> CheckedManifest:
    """A dataset or tar shards, which are read whole or not at all."""
    rows = []
    for clip in read_manifest(source, label=label).clips:
        known = {"label": clip.label, "speaker": clip.speaker, "split": clip.split}
        known["fold"] = clip.fold
        values = {name: value for name, value in known.items() if value is not None}
        rows.append(CheckedRow(None, {"path": clip.id, **clip.columns, **values}, clip))
    columns = dict.fromkeys(name for row in rows for name in row.values)
    return CheckedManifest(source, list(columns), rows)


def _problem(
    told: str, row: int | None = None, clip: str | None = None, line: int | None = None
) -> Finding:
    """A problem in the words of the manifest's reader: what, and after the last `;` what to do."""
    numbered = _LINE.match(told)
    if numbered:
        line = int(numbered[1])
        told = told[numbered.end() :] if told[numbered.end() - 2] == ":" else told
    message, _, advice = told.partition("; ")
    kind = "missing" if "does not exist" in message else "manifest"
    return Finding(
        "error",
        kind,
        message,
        advice or "correct it, or remove the line",
        row,
        clip,
        line,
        leave_out=row is not None,
    )
