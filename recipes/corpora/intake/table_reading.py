# SPDX-License-Identifier: Apache-2.0
"""Tables as people have them: comma, semicolon, tab; UTF-8, UTF-16, Windows; CSV, JSON, JSONL."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.text_encoding import decode_table
from voxadapt.recipes.corpora.json_text import text_of_json

TABLE_EXTENSIONS = (".csv", ".tsv", ".txt", ".tab", ".jsonl", ".ndjson", ".json")

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LOOKED_AT = 50


@dataclass
class Table:
    """Rows of text.

    Attributes:
        columns: Names of the columns, in order of appearance.
        rows: The line (of JSON: the entry) from 1, and values by column, without the space around.
        how: How it was read, in words: encoding and delimiter.
        broken: Lines that were not rows, with the reason.
    """

    columns: list[str] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    how: str = ""
    broken: list[tuple[int, str]] = field(default_factory=list)


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a table whose first line names the columns, or JSON of objects.

    Args:
        path: A file that ends in one of `TABLE_EXTENSIONS`.
        encoding: What it is encoded in; None finds out.

    Raises:
        DataError: It cannot be read or decoded, or its ending is another.
    """
    ending = path.suffix.lower()
    if ending not in TABLE_EXTENSIONS:
        raise DataError(
            f"{path}: a table ends in {', '.join(TABLE_EXTENSIONS)}; export a spreadsheet as CSV."
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    text, found = decode_table(content, str(path), encoding)
    if ending in (".json", ".jsonl", ".ndjson"):
        table = _read_json(path, text, lines=ending != ".json")
    else:
        table = parse_delimited(text, str(path))
    table.how = ", ".join(filter(None, (table.how, found)))
    if not table.columns:
        raise DataError(f"{path} is empty; the first line must name the columns.")
    return table


def parse_delimited(text: str, name: str) -> Table:
    """Read lines of fields; the delimiter is the one that cuts most lines alike.

    Args:
        text: The table.
        name: What it is called in an error.

    Raises:
        DataError: A quote is not closed, so that nothing after it can be told apart.
    """
    lines = [line for line in text.splitlines() if line.strip()][:_LOOKED_AT]
    delimiter = max(_DELIMITERS, key=lambda mark: _regularity(lines, mark))
    how = f"{_DELIMITERS[delimiter]}-separated"
    try:
        return _parse(text, delimiter, how, quoted=True)
    except csv.Error as error:
        if delimiter != "\t":
            raise DataError(f"{name} cannot be read as a table: {error}.") from error
        # Tables with tabs often do not quote at all, and have single quotes in their texts.
        return _parse(text, delimiter, f"{how} without quotes", quoted=False)


def _parse(text: str, delimiter: str, how: str, *, quoted: bool) -> Table:
    table = Table(how=how)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True
    )
    try:
        for values in reader:
            row = [value.strip() for value in values]
            if not any(row):
                continue
            if not table.columns:
                table.columns = [name or f"column_{place}" for place, name in enumerate(row, 1)]
            elif len(row) != len(table.columns):
                reason = f"it has {len(row)} fields where the header names {len(table.columns)}"
                table.broken.append((reader.line_num, reason))
            else:
                pairs = dict(zip(table.columns, row, strict=True))
                table.rows.append((reader.line_num, pairs))
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from error
    return table


def _regularity(lines: list[str], delimiter: str) -> tuple[int, int]:
    """How many lines have as many fields as the first one, if those are several; and how many."""
    counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    if not counts or counts[0] < 2:
        return 0, 0
    return sum(count == counts[0] for count in counts), counts[0]


def _read_json(path: Path, text: str, *, lines: bool) -> Table:
    table = Table(how="JSON")
    names: dict[str, None] = {}
    for line, entry in _json_entries(path, text, table, lines=lines):
        if not isinstance(entry, dict):
            table.broken.append((line, "it holds no object"))
            continue
        row = {str(name): text_of_json(value) for name, value in entry.items()}
        names.update(dict.fromkeys(row))
        table.rows.append((line, row))
    table.columns = list(names)
    return table


def _json_entries(
    path: Path, text: str, table: Table, *, lines: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield numbered objects: one a line, of a list, or of an object of objects by id."""
    if lines:
        # Not `splitlines`, for which some characters inside of a text end a line too.
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    table.broken.append((number, f"it is no JSON ({error})"))
        return
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}.") from error
    if isinstance(content, dict):
        content = [
            {"id": name, **entry} if isinstance(entry, dict) else entry
            for name, entry in content.items()
        ]
    if not isinstance(content, list):
        raise DataError(f"{path} must hold a list of objects, or an object of objects by id.")
    yield from enumerate(content, 1)
