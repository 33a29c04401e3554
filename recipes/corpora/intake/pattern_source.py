# SPDX-License-Identifier: Apache-2.0
"""Clips from file names alone, by a pattern that the user gives."""

from voxadapt.recipes.corpora.errors import DataError, some_of
from voxadapt.recipes.corpora.intake.audio_tree import AudioTree, unconverted
from voxadapt.recipes.corpora.intake.found import Found, LeftOut, make_clip
from voxadapt.recipes.corpora.intake.name_pattern import NamePattern

_KEPT_OUT = ("path", "id", "seconds")


def find_by_pattern(tree: AudioTree, text: str) -> Found:
    """Read what the names of audio files tell.

    Args:
        tree: The files.
        text: The pattern, as `NamePattern` reads it; `label` must be among its fields.

    Raises:
        DataError: The pattern cannot be read, has no `{label}`, or no file is named by it.
    """
    pattern = NamePattern(text)
    if "label" not in pattern.fields:
        raise DataError(
            f"--pattern {text!r} has no {{label}}; it names {', '.join(pattern.fields) or 'none'}. "
            "Put {label} where the label stands in the names."
        )
    wrong = [name for name in pattern.fields if name in _KEPT_OUT]
    if wrong:
        raise DataError(f"--pattern {text!r}: {{{wrong[0]}}} is taken; call the field otherwise.")
    found = Found(left_out=unconverted(tree))
    for name in tree.audio:
        fields = pattern.match(name)
        if fields is None:
            found.left_out.append(LeftOut(name, "the name does not fit --pattern"))
            continue
        try:
            found.clips.append(make_clip(tree.folder / name, name, fields))
        except ValueError:
            found.left_out.append(LeftOut(name, "{start} or {end} is no number of seconds"))
    if not found.clips:
        holds = some_of(tree.audio, 3) if tree.audio else "no audio file"
        raise DataError(
            f"--pattern {text!r} fits none of the {len(tree.audio):,} audio files below "
            f"{tree.folder}: {holds}. A field ends before the character that follows it; give "
            "{name:REGEX} where that is not so, and * for what does not matter."
        )
    return found
