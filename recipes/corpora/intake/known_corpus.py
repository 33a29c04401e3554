# SPDX-License-Identifier: Apache-2.0
"""Clips of a known corpus, by its description."""

from collections import Counter
from collections.abc import Callable

from voxadapt.recipes.corpora.errors import DataError, some_of
from voxadapt.recipes.corpora.intake.audio_tree import (
    AudioTree,
    conversion_command,
    draw_tree,
    unconverted,
)
from voxadapt.recipes.corpora.intake.description import CorpusDescription
from voxadapt.recipes.corpora.intake.found import Found, LeftOut, make_clip
from voxadapt.recipes.corpora.intake.label_files import (
    Entries,
    fill,
    find_label_files,
    read_label_files,
)

NOT_OF_THE_CORPUS = "the name is not one of this corpus"


def find_known(
    description: CorpusDescription,
    tree: AudioTree,
    *,
    classes: str | None = None,
    read: Callable[[str], bytes] | None = None,
) -> Found:
    """Read a corpus as it is released.

    Args:
        description: The corpus.
        tree: The files of its folder, of a folder above, or of its innermost one.
        classes: The class set; None is the default one.
        read: Gives the content of a label file by its relative path; None reads the disk.

    Raises:
        DataError: The folder does not hold the corpus, or there is no such class set.
    """
    class_of = description.class_set(classes)
    _check_tree(description, tree)
    content = read or (lambda name: (tree.folder / name).read_bytes())
    entries = [
        read_label_files(files, [*tree.others, *tree.audio], content)
        for files in description.label_files
    ]
    found = Found(left_out=unconverted(tree), has_ids=True)
    places: dict[str, str] = {}
    heard: list[set[str]] = [set() for _ in entries]
    for name in tree.audio:
        fields = match_name(description, name)
        if fields is None:
            found.left_out.append(LeftOut(name, NOT_OF_THE_CORPUS))
            continue
        _join(description, entries, fields, heard)
        clip_id = description.id.format_map(fields)
        columns = fill_columns(description, fields)
        reason = _why_not(description, fields, columns.get("label", ""), class_of)
        if places.setdefault(clip_id, name) != name:
            reason = f"the same clip as another file, such as {places[clip_id]}"
        if reason:
            found.left_out.append(LeftOut(name, reason))
            continue
        raw, columns["label"] = columns["label"], class_of[columns["label"]]
        found.clips.append(make_clip(tree.folder / name, clip_id, {**columns, "raw_label": raw}))
    _list_unheard(description, entries, heard, class_of, found)
    _add_notes(description, places, found)
    if not found.clips:
        reasons = Counter(left.reason for left in found.left_out).most_common(3)
        raise DataError(
            f"no clip of {description.title} could be taken from {tree.folder}: "
            + "; ".join(f"{count:,} files: {reason}" for reason, count in reasons)
            + f".\n{_expected(description)}\nFound:\n{draw_tree(tree)}"
        )
    return found


def match_name(description: CorpusDescription, name: str) -> dict[str, str] | None:
    """Return the fields that the name of an audio file tells; None where it is no such name."""
    for pattern in description.patterns:
        fields = pattern.match(name)
        if fields is not None:
            return fields
    return None


def fill_columns(description: CorpusDescription, fields: dict[str, str]) -> dict[str, str]:
    """Make the manifest's columns of a clip's fields; empty ones are left out."""
    columns = {}
    for name, column in description.columns.items():
        text = fill(column.of, fields)
        text = column.values.get(text, "") if column.values else text
        if text and text not in column.unknown:
            columns[name] = text
    return columns


def _join(
    description: CorpusDescription,
    entries: list[Entries],
    fields: dict[str, str],
    heard: list[set[str]],
) -> None:
    """Add to a clip's fields what label files say of it."""
    for files, known, keys in zip(description.label_files, entries, heard, strict=True):
        key = fill(files.key, fields)
        if key in known:
            keys.add(key)
            for name, value in known[key].items():
                fields.setdefault(name, value)


def _why_not(
    description: CorpusDescription, fields: dict[str, str], label: str, class_of: dict[str, str]
) -> str:
    """Why a clip is not to be taken; empty where it is."""
    for name, allowed in description.only.items():
        if fields.get(name, "") not in allowed:
            return f"{name} is {fields.get(name, '')!r}; {', '.join(allowed)} is taken"
    if not label:
        return "no label file has a label for it"
    if label not in class_of:
        wanted = ", ".join(dict.fromkeys(class_of.values()))
        return f"label {label!r} is not among the classes {wanted}"
    return ""


def _list_unheard(
    description: CorpusDescription,
    entries: list[Entries],
    heard: list[set[str]],
    class_of: dict[str, str],
    found: Found,
) -> None:
    """List entries of label files that no audio file belongs to, where their label is wanted."""
    for files, known, keys in zip(description.label_files, entries, heard, strict=True):
        if files.lists != "clips" or not files.required:
            continue
        for key, fields in known.items():
            label = fill_columns(description, fields).get("label", "")
            if key not in keys and label in class_of:
                found.left_out.append(LeftOut(key, "has a label, but there is no audio file of it"))


def _add_notes(description: CorpusDescription, places: dict[str, str], found: Found) -> None:
    found.notes += description.notes
    if description.clips and len(places) != description.clips:
        found.notes.append(
            f"the release is known with {description.clips:,} clips; {len(places):,} were found"
        )


def _check_tree(description: CorpusDescription, tree: AudioTree) -> None:
    """Raise where the folder holds another thing than the corpus.

    Raises:
        DataError: No name fits, recordings are not converted, or label files are missing.
    """
    expected, holds = _expected(description), f"Found:\n{draw_tree(tree)}"
    if not any(match_name(description, name) for name in tree.audio):
        videos = [f"{name.rpartition('.')[0]}.wav" for name in tree.foreign]
        if any(match_name(description, name) for name in videos):
            raise DataError(
                f"{tree.folder} holds {description.title} as recordings that are not read here "
                f"({some_of(tree.foreign, 2)}); convert them first, as by\n"
                f"  {conversion_command(tree)}"
            )
        raise DataError(f"{tree.folder} does not hold {description.title}. {expected}\n{holds}")
    for files in description.label_files:
        if files.required and not find_label_files(files, tree.others):
            raise DataError(
                f"{tree.folder} holds audio of {description.title}, but not its label files "
                f"({files.files}); give a folder that holds both. {expected}\n{holds}"
            )


def _expected(description: CorpusDescription) -> str:
    lines = "\n".join(f"  {line}" for line in description.layout.rstrip().splitlines())
    return f"Expected, by {description.layout_from}:\n{lines}"
