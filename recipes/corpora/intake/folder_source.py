# SPDX-License-Identifier: Apache-2.0
"""Clips from a folder of class folders, also below folders that are called train, valid, test."""

from pathlib import Path

from voxadapt.recipes.corpora.class_folders import read_class_folders
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.audio_tree import draw_tree, list_tree, unconverted
from voxadapt.recipes.corpora.intake.found import Found, LeftOut, split_of_word
from voxadapt.recipes.corpora.intake.table_reading import TABLE_EXTENSIONS

MADE_HERE = ("manifest.csv", ".left_out.csv")
"""How the names of files end that init-data writes."""

_WAYS_OUT = (
    'give --pattern "{label}/{speaker}_*.wav" with what the names mean, --corpus NAME for a known '
    "corpus (--list-corpora), or a table of the clips in place of the folder; of speech without "
    "labels, to pretrain on, a table of its files with --label-column none"
)


def find_in_folders(folder: Path) -> Found:
    """Take the names of sub-folders for labels.

    Args:
        folder: An existing folder (absolute), with one sub-folder per class; or one per part
            (train, valid, test) with one sub-folder per class each.

    Raises:
        DataError: There are no class folders with audio, or only one.
    """
    found = Found()
    given = folder
    parts = _folders(folder)
    while len(parts) == 1 and _folders(parts[0]):
        folder, parts = parts[0], _folders(parts[0])
    if folder != given:
        inner = folder.relative_to(given).as_posix()
        found.notes.append(f"the class folders are taken to be those in {inner}/")
    prefix = "" if folder == given else f"{folder.relative_to(given).as_posix()}/"
    if len(parts) > 1 and all(split_of_word(part.name) for part in parts):
        for part in parts:
            split = split_of_word(part.name)
            for clip in _read(part, found, f"{prefix}{part.name}/"):
                clip.split = split
        names = ", ".join(part.name for part in parts)
        found.notes.append(f"the folders {names} are the parts of the corpus: taken as its splits")
    else:
        _read(folder, found, prefix)
    found.notes += [
        f"{path.name} lies there too; if it tells speakers or parts, give it in place of the folder"
        for path in sorted(given.iterdir())
        if path.suffix.lower() in TABLE_EXTENSIONS and not path.name.endswith(MADE_HERE)
    ]
    labels = {clip.label for clip in found.clips}
    if len(labels) < 2:
        what = f"one class ({next(iter(labels))!r})" if labels else "no audio in class folders"
        raise DataError(
            f"{given} holds {what}; it was taken for a folder of class folders. Found there:\n"
            f"{draw_tree(list_tree(given))}\nInstead, {_WAYS_OUT}."
        )
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _read(folder: Path, found: Found, prefix: str) -> list[Clip]:
    """Read one folder of class folders into `found`, and return its clips."""
    clips, _ = read_class_folders(folder)
    for clip in clips:
        clip.id = f"{prefix}{clip.id}"
    taken = {clip.path for clip in clips}
    tree = list_tree(folder)
    found.left_out += [
        LeftOut(f"{prefix}{name}", "lies in no class folder")
        for name in tree.audio
        if folder / name not in taken
    ]
    found.left_out += [LeftOut(f"{prefix}{one.what}", one.reason) for one in unconverted(tree)]
    found.clips += clips
    return clips
