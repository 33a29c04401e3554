# SPDX-License-Identifier: Apache-2.0
"""The rows of a manifest file as text: CSV or JSON Lines, before anyone asks what they mean."""

import codecs
import csv
import json
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxadapt.recipes.corpora.json_text import text_of_json

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CHUNK_BYTES = 1 << 20


Row = tuple[int, dict[str, str]]


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
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_rows(path: Path, plain: Collection[str] = ()) -> Rows:
    """Read `.csv` (comma, header line) or `.jsonl` (one object a line), UTF-8 with or without BOM.

    Problems are collected in the result and never raised: the reader of the columns adds its own,
    so that the user sees all of them at once.

    Args:
        path: The manifest; it exists.
        plain: Columns in which JSON may not hold a list or an object.
    """
    found = Rows()
    found.rows = list(iterate_rows(path, found, plain))
    return found


def iterate_rows(path: Path, found: Rows, plain: Collection[str] = ()) -> Iterator[Row]:
    """As `read_rows`, but yield rows instead of keeping them.

    Args:
        path: The manifest; it exists.
        found: Gets columns and problems as they are found. The columns of CSV are known at the
            first row, those of JSONL after the last.
        plain: As of `read_rows`.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        allowed = " or ".join(_READERS)
        found.problems.append(f"the name ends in {path.suffix!r}; a manifest ends in {allowed}")
        return
    with path.open("rb") as stream:
        if stream.read(2) in _UTF16_MARKS:
            found.problems.append("the file is UTF-16; save it as UTF-8")
            return
    yield from reader(path, found, plain)


def _iterate_csv(path: Path, found: Rows, plain: Collection[str]) -> Iterator[Row]:
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
                yield line, dict(zip(found.columns, row, strict=True))
    except csv.Error as error:
        # Nothing after a broken quote can be trusted to begin where a row begins.
        way_out = 'close its quotes, and write a quote inside of quotes twice ("")'
        if "field limit" in str(error):
            way_out = f"shorten it, or, if a quote was never closed, {way_out}"
        found.problems.append(
            f"line {begins + 1}: this row cannot be read as CSV ({error}); {way_out}"
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


def _iterate_jsonl(path: Path, found: Rows, plain: Collection[str]) -> Iterator[Row]:
    not_utf8: list[int] = []
    columns: dict[str, None] = {}
    for line, text in enumerate(_lines(path, found.problems, not_utf8), start=1):
        if not text.strip() or (not_utf8 and not_utf8[-1] == line):
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            found.problems.append(f"line {line} is no JSON ({error}); write one object a line")
            continue
        if not isinstance(row, dict):
            found.problems.append(
                f"line {line} holds no object; write one a line, such as "
                '{"path": "a.wav", "label": "happy"}'
            )
            continue
        if not columns.keys() >= row.keys():
            columns.update(dict.fromkeys(row))
        if "[" in text or "\\u" in text or text.count("{") > 1:  # as few rows have
            problems = [f"line {line}: {problem}" for problem in _value_problems(row, plain)]
            found.problems.extend(problems)
            if problems:
                continue
        # The parser makes a name anew for each line; one of each is enough.
        yield (
            line,
            {
                sys.intern(name): value.strip() if type(value) is str else text_of_json(value)
                for name, value in row.items()
            },
        )
    found.columns = list(columns)


def _value_problems(row: dict[str, Any], plain: Collection[str]) -> Iterator[str]:
    for name in plain:
        if isinstance(row.get(name), (list, dict)):
            yield f"{name} is {text_of_json(row[name])}; write one text or number"
    for name in _half_characters(row):
        yield (
            f"{name} holds half of a character (\\ud800 to \\udfff alone); write the whole of it"
        )


def _half_characters(row: dict[str, Any]) -> list[str]:
    """Names or values of a row that no file could be written with: JSON can say what UTF-8 cannot.

    A path may hold such, where a file's name is no UTF-8: Python says so for each byte of it.
    """
    return [
        name.encode("utf-8", "backslashreplace").decode()
        for name, value in row.items()
        if not (_is_text(name) and (name == "path" or _is_text(text_of_json(value))))
    ]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path, problems: list[str], not_utf8: list[int]) -> Iterator[str]:
    """Decode line by line, so that each line that is not UTF-8 is named."""
    if _is_utf8(path):  # as nearly every file is, and then Python reads it several times faster
        with path.open(encoding="utf-8-sig", newline="\n") as text_stream:
            yield from text_stream
        return
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


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


_READERS: dict[str, Callable[[Path, Rows, Collection[str]], Iterator[Row]]] = {
    ".csv": _iterate_csv,
    ".jsonl": _iterate_jsonl,
}
