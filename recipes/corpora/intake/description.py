# SPDX-License-Identifier: Apache-2.0
"""Descriptions of corpora: a YAML file says what names and label files of a release mean."""

import dataclasses
import functools
import importlib.resources
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from voxadapt.recipes.corpora.errors import DataError, did_you_mean
from voxadapt.recipes.corpora.intake.name_pattern import NamePattern

_FOLDER = "voxadapt.recipes.corpora.known"


@dataclass(frozen=True)
class LabelFiles:
    """Files that say more about clips, or about speakers, than the names do.

    Attributes:
        files: A pattern of their names; its fields are fields of every entry.
        key: What a clip and its entry have in common, as `{session}/{utterance}`, made of the
            clip's fields.
        entry: The same made of the entry's fields; empty where it is the same template.
        line: A regular expression with named groups, for text files; lines that do not match are
            passed over.
        table: Columns by field, for delimited files and JSON.
        lists: `clips`, where each entry is one clip, and an entry without audio is to be listed; or
            `speakers`.
        required: Whether a corpus without these files is not usable.
        encoding: Of files that are neither UTF-8 nor begin with a byte order mark.
    """

    files: str
    key: str
    entry: str = ""
    line: str = ""
    table: dict[str, str] = field(default_factory=dict)
    lists: str = "clips"
    required: bool = True
    encoding: str = "cp1252"


@dataclass(frozen=True)
class Column:
    """How a column of the manifest is made.

    Attributes:
        of: A template, as `Ses{session}{gender}`; empty where a field is missing.
        values: What each text of the template stands for; others give an empty value.
        unknown: Texts that say that the value is not known.
    """

    of: str
    values: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CorpusDescription:
    """A corpus as it is released.

    Attributes:
        name: As the user calls it: the file's name.
        title: Its full name.
        language: Of the speech.
        licence: As commonly stated; no legal advice.
        home: Where it is to be had.
        layout: A picture of the tree, for the error on a wrong folder.
        layout_from: Where that is known from.
        clips: Clips of the whole release; 0 where it depends on the version.
        audio: Patterns of audio names; the first that fits counts.
        id: Template of the clip's id, the same wherever the tree lies.
        columns: The manifest's columns by name; `label` gives the label as found.
        classes: For each class set by its name, the labels that each class is made of; the first
            set is the default. Clips of other labels are left out.
        only: Values that a field must have; clips with others are left out.
        label_files: Further sources of fields.
        notes: What a user should know.
    """

    name: str
    title: str
    language: str
    licence: str
    home: str
    layout: str
    layout_from: str
    audio: list[str]
    id: str
    columns: dict[str, Column]
    classes: dict[str, dict[str, list[str]]]
    clips: int = 0
    only: dict[str, list[str]] = field(default_factory=dict)
    label_files: list[LabelFiles] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def patterns(self) -> list[NamePattern]:
        """The patterns of audio names, ready to match."""
        return [NamePattern(text) for text in self.audio]

    def class_set(self, name: str | None) -> dict[str, str]:
        """Return the class of each label, for a class set; None is the default.

        Raises:
            DataError: There is no such set.
        """
        if name is not None and name not in self.classes:
            raise DataError(
                f"--classes {name}: {self.name} has the class sets {', '.join(self.classes)}"
            )
        chosen = self.classes[name or next(iter(self.classes))]
        return {label: target for target, labels in chosen.items() for label in labels}


def known_names() -> list[str]:
    """The corpora that are described here, sorted."""
    files = importlib.resources.files(_FOLDER).iterdir()
    return sorted(file.name[:-5] for file in files if file.name.endswith(".yaml"))


def load_description(name: str) -> CorpusDescription:
    """Load the description of a known corpus, or of one's own from a `.yaml` file.

    Raises:
        DataError: There is none of that name, or the file cannot be used.
    """
    if name.lower().endswith((".yaml", ".yml")):
        return _read(Path(name).stem, _text_of(Path(name)), name)
    plain = plain_name(name)
    by_plain = {plain_name(known): known for known in known_names()}
    if plain not in by_plain:
        raise DataError(
            f"--corpus {name}: no such corpus is described here; known are "
            f"{', '.join(known_names())}{did_you_mean(name, known_names()) or '.'} For others, a "
            "YAML file of your own (docs/corpora.md) or --pattern does."
        )
    file = importlib.resources.files(_FOLDER) / f"{by_plain[plain]}.yaml"
    return _read(by_plain[plain], file.read_text(encoding="utf-8"), file.name)


def plain_name(name: str) -> str:
    """A corpus's name without case, dashes and underscores: CREMA-D and crema_d are cremad."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--corpus {path}: cannot be read: {error}.") from error


def _read(name: str, text: str, source: str) -> CorpusDescription:
    try:
        # The base loader keeps every value as it is written: codes such as 01 and no stay text.
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise DataError(f"{source} is no YAML: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{source} must hold the fields of a description (docs/corpora.md).")
    columns = content.get("columns")
    if isinstance(columns, dict):
        content["columns"] = {
            column: {"of": value} if isinstance(value, str) else value
            for column, value in columns.items()
        }
    return _build(CorpusDescription, {"name": name, **content}, source)


def _build(kind: Any, value: Any, place: str) -> Any:
    """Make a value of a type out of parsed YAML, or say what is wrong with it, and where."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        fields = dataclasses.fields(kind)
        for name in value:
            if name not in hints:
                raise DataError(f"{place}: there is no field {name!r}{did_you_mean(name, hints)}")
        missing = [
            one.name
            for one in fields
            if one.name not in value
            and one.default is dataclasses.MISSING
            and one.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise DataError(f"{place}: the field {missing[0]!r} is missing.")
        built = {name: _build(hints[name], one, f"{place}: {name}") for name, one in value.items()}
        return kind(**built)  # type: ignore[operator]
    if origin is dict and isinstance(value, dict):
        return {name: _build(arguments[1], one, f"{place}: {name}") for name, one in value.items()}
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], one, place) for one in value]
    if kind is str and isinstance(value, str):
        return value
    if kind is int and isinstance(value, str) and value.isdigit():
        return int(value)
    if kind is bool and value in ("true", "false"):
        return value == "true"
    expected = origin or kind
    raise DataError(
        f"{place}: found {value!r}, expected {getattr(expected, '__name__', expected)}."
    )
