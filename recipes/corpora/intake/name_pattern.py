# SPDX-License-Identifier: Apache-2.0
"""Patterns of file names: `{speaker}_{label}_{n}.wav` tells what each part of a name means."""

import re

from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS
from voxadapt.recipes.corpora.errors import DataError

IGNORED = "_"
"""The field that may be anything and is not kept; it may stand several times."""

_AUDIO = "|".join(re.escape(ending) for ending in AUDIO_EXTENSIONS)


class NamePattern:
    """What the names of files mean.

    `{name}` is a part of one folder's or file's name, up to the character that follows it in the
    pattern; `{name:REGEX}` is what a regular expression matches, whose own named groups are fields
    too; `*` is any text within a name, and `**/` any folders. Everything else stands for itself.
    The pattern is compared with the end of a path, so folders above it need not be written; with
    `**/`, the folders named before it are the outermost that fit.

    Args:
        text: The pattern. Without an ending such as .wav, it takes audio files of any kind.
        audio: Whether it is about audio files.

    Attributes:
        text: As given.
        fields: Names of the fields, in order.

    Raises:
        DataError: The pattern makes no sense.

    Example:
        >>> NamePattern("{speaker}/{label}-*.wav").match("corpus/s1/angry-07.wav")
        {'speaker': 's1', 'label': 'angry'}
    """

    def __init__(self, text: str, *, audio: bool = True) -> None:
        self.text = text
        parts, fields = _parts(text)
        expression = "".join(parts)
        ending = re.search(r"\.[A-Za-z0-9]{1,5}$", text)
        if audio and not (ending and not text.endswith("}")):
            expression += f"(?i:{_AUDIO})"
        elif ending and text.endswith(ending[0]):
            literal = re.escape(ending[0])
            expression = expression[: -len(literal)] + f"(?i:{literal})"
        try:
            self._compiled = re.compile(f"(?:.*?/)??{expression}", re.DOTALL)
        except re.error as error:
            raise DataError(f"the pattern {text!r} cannot be read: {error}.") from error
        groups = self._compiled.groupindex
        self.fields = [name for name in groups if not name.startswith("_")]
        if audio and not fields:
            raise DataError(
                f"the pattern {text!r} names no field; write names in braces, such as "
                "{speaker}_{label}_{n}.wav."
            )

    def match(self, path: str) -> dict[str, str] | None:
        """Return the fields of a path (with `/`), or None where it is no such path."""
        found = self._compiled.fullmatch(path)
        if found is None:
            return None
        values = found.groupdict()
        return {name: values[name] or "" for name in self.fields}


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Return the regular expressions of the pattern's parts, and the names of its fields."""
    parts: list[str] = []
    fields: list[str] = []
    place = 0
    while place < len(text):
        if text.startswith("**/", place):
            parts.append("(?:[^/]+/)*")
            place += 3
        elif text[place] == "*":
            parts.append("[^/]*")
            place += 1
        elif text[place] == "{":
            end = _closing(text, place)
            name, _, expression = text[place + 1 : end].partition(":")
            parts.append(_field(text, place, end, name.strip(), expression, fields))
            place = end + 1
        elif text[place] == "}":
            raise DataError(f"the pattern {text!r} closes a brace that was not opened.")
        else:
            parts.append(re.escape(text[place]))
            place += 1
    return parts, fields


def _closing(text: str, begin: int) -> int:
    """The place of the brace that closes the one at `begin`."""
    depth = 0
    for place in range(begin, len(text)):
        escaped = place > 0 and text[place - 1] == "\\"
        if text[place] in "{}" and not escaped:
            depth += 1 if text[place] == "{" else -1
        if depth == 0:
            return place
    raise DataError(f"the pattern {text!r} opens a brace that it does not close.")


def _field(text: str, begin: int, end: int, name: str, expression: str, fields: list[str]) -> str:
    """The regular expression of the field between the braces at `begin` and `end`."""
    before, rest = text[:begin], text[end + 1 :]
    if not name.isidentifier():
        raise DataError(
            f"the pattern {text!r} names a field {name!r}; names are letters, digits and _, and "
            "begin with a letter."
        )
    if not expression:
        if rest.startswith("{"):
            raise DataError(
                f"the pattern {text!r} has nothing between {{{name}}} and the next field, so where "
                f"one ends cannot be told; give what it looks like, as {{{name}:[A-Z]+}}."
            )
        # `{a}_{b}.wav` must not take `x_y_z.wav` in one of two ways: a field ends before the
        # character that follows it, and the last one of a name holds none that went before it,
        # unless it is ignored anyway.
        last = not rest or re.fullmatch(r"\.\w+", rest)
        stop = before[-1:] if last and not before[-1:].isalnum() else rest[:1]
        stop = "" if last and name == IGNORED else stop.strip("*/}")
        expression = f"[^/{re.escape(stop)}]+?"
    if name == IGNORED:
        return f"(?:{expression})"
    if name in fields:
        return f"(?P={name})"
    fields.append(name)
    return f"(?P<{name}>{expression})"
