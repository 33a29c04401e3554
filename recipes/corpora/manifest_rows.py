# SPDX-License-Identifier: Apache-2.0
"""The rows of a manifest file as text: CSV or JSON Lines, before anyone asks what they mean."""

import csv
import json
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class Rows:
    """What stands in a manifest file.

    Attributes:
        columns: Names of the columns, in order of appearance.
        rows: Line number (from 1; of the row's last line) and values by column, without the space
            around them. An empty or absent value is `""` or left out.
        problems: Lines that could not be read, one sentence each.
    """

    columns: list[str] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_rows(path: Path, plain: Collection[str] = ()) -> Rows:
    """Read `.csv` (comma, header line) or `.jsonl` (one object a line), UTF-8 with or without BOM.

    Problems are collected in the result and never raised: the reader of the columns adds its own,
    so that the user sees all of them at once.

    Args:
        path: The manifest; it exists.
        plain: Columns in which JSON may not hold a list or an object.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        allowed = " or ".join(_READERS)
        return Rows(problems=[f"the name ends in {path.suffix!r}; a manifest ends in {allowed}"])
    with path.open("rb") as stream:
        if stream.read(2) in _UTF16_MARKS:
            return Rows(problems=["the file is UTF-16; save it as UTF-8"])
    found = Rows()
    reader(path, found, plain)
    return found


def _read_csv(path: Path, found: Rows, plain: Collection[str]) -> None:
    not_utf8: list[int] = []
    reader = csv.reader(_lines(path, found.problems, not_utf8), strict=True)
    begins = 0
    try:
        for values in reader:
            line, begun = reader.line_num, begins
            begins = line
            if not_utf8 and not_utf8[-1] > begun:
                continue  # already a problem; its garbled values would only make more
            row = [value.strip() for value in values]
            if not any(row):
                continue  # a blank line, or one of bare commas as spreadsheets leave behind
            if not found.columns:
                found.columns = row
                found.problems.extend(_header_problems(row))
            elif len(row) != len(found.columns):
                found.problems.append(
                    f"line {line} has {len(row)} fields, but the header names "
                    f"{len(found.columns)}; quote a field that holds a comma"
                )
            else:
                found.rows.append((line, dict(zip(found.columns, row, strict=True))))
    except csv.Error as error:
        # Nothing after a broken quote can be trusted to begin where a row begins.
        found.problems.append(
            f"line {begins + 1}: this row cannot be read as CSV ({error}); close its quotes, and "
            'write a quote inside of quotes twice ("")'
        )


def _header_problems(columns: list[str]) -> Iterator[str]:
    for position, name in enumerate(columns, start=1):
        if not name:
            yield (
                f"column {position} has no name in the header; name it, or leave it out "
                "(pandas: to_csv(..., index=False))"
            )
        elif name in columns[: position - 1]:
            yield f"the header names column {name!r} twice; rename or remove one of them"
    if len(columns) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs")):
            if separator in columns[0]:
                yield f"the columns are separated by {name}; separate them by commas"


def _read_jsonl(path: Path, found: Rows, plain: Collection[str]) -> None:
    not_utf8: list[int] = []
    columns: dict[str, None] = {}
    for line, text in enumerate(_lines(path, found.problems, not_utf8), start=1):
        if not text.strip() or (not_utf8 and not_utf8[-1] == line):
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            found.problems.append(f"line {line} is no JSON ({error}); write one object a line")
            continue
        if not isinstance(row, dict):
            found.problems.append(
                f"line {line} holds no object; write one a line, such as "
                '{"path": "a.wav", "label": "happy"}'
            )
            continue
        columns.update(dict.fromkeys(row))
        nested = [name for name in plain if isinstance(row.get(name), (list, dict))]
        found.problems.extend(
            f"line {line}: {name} is {_as_text(row[name])}; write one text or number"
            for name in nested
        )
        if nested:
            continue
        # The parser makes a name anew for each line; one of each is enough.
        found.rows.append((line, {sys.intern(name): _as_text(row[name]) for name in row}))
    found.columns = list(columns)


def _as_text(value: Any) -> str:
    """Text of a JSON value: null is empty, a number or a nested value stays as JSON."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(path: Path, problems: list[str], not_utf8: list[int]) -> Iterator[str]:
    """Decode line by line, so that each line that is not UTF-8 is named."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                not_utf8.append(number)
                problems.append(
                    f"line {number} is not UTF-8 (byte 0x{raw[error.start]:02x} at position "
                    f"{error.start + 1}); save the file as UTF-8"
                )
                text = raw.decode("utf-8", "replace")
            yield text.removeprefix("\ufeff") if number == 1 else text


_READERS: dict[str, Callable[[Path, Rows, Collection[str]], None]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}
