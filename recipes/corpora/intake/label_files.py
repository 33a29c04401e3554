# SPDX-License-Identifier: Apache-2.0
"""Label files of known corpora: fields by the key of the clip or speaker that they are about."""

import re
from collections.abc import Callable, Sequence

from voxadapt.recipes.corpora.intake.description import LabelFiles
from voxadapt.recipes.corpora.intake.name_pattern import NamePattern
from voxadapt.recipes.corpora.intake.table_reading import parse_delimited
from voxadapt.recipes.corpora.intake.text_encoding import decode

Entries = dict[str, dict[str, str]]
"""Fields by key."""


def fill(template: str, fields: dict[str, str]) -> str:
    """Fill in a template; the text is empty where a field is missing or empty.

    Args:
        template: Text with names of fields in braces.
        fields: Their values.

    Example:
        >>> fill("Ses{session}{gender}", {"session": "01", "gender": "F"})
        'Ses01F'
    """
    known = {name: value for name, value in fields.items() if value}
    try:
        return template.format_map(known)
    except KeyError:
        return ""


def find_label_files(wanted: LabelFiles, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the label files among relative paths, each with the fields of its name."""
    pattern = NamePattern(wanted.files, audio=False)
    matches = {name: pattern.match(name) for name in names}
    return {name: fields for name, fields in matches.items() if fields is not None}


def read_label_files(
    wanted: LabelFiles, names: Sequence[str], read: Callable[[str], bytes]
) -> Entries:
    """Read all label files of a kind.

    Args:
        wanted: Which files, and what they say.
        names: The relative paths that the corpus has.
        read: Gives the content of one.
    """
    entries: Entries = {}
    for name, of_file in find_label_files(wanted, names).items():
        text, _ = decode(read(name), wanted.encoding)
        rows = _line_fields(wanted, text) if wanted.line else _table_fields(wanted, text, name)
        for fields in rows:
            everything = {**of_file, **fields}
            key = fill(wanted.entry or wanted.key, everything)
            if key:
                entries.setdefault(key, everything)
    return entries


def _line_fields(wanted: LabelFiles, text: str) -> list[dict[str, str]]:
    found = (re.match(wanted.line, line) for line in text.splitlines())
    return [
        {name: (value or "").strip() for name, value in match.groupdict().items()}
        for match in found
        if match is not None
    ]


def _table_fields(wanted: LabelFiles, text: str, name: str) -> list[dict[str, str]]:
    table = parse_delimited(text, name)
    return [
        {name: row.get(column, "") for name, column in wanted.table.items()}
        for _, row in table.rows
    ]
