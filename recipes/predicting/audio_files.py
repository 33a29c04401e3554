# SPDX-License-Identifier: Apache-2.0
"""The audio files that a command line names: files, folders, patterns, and a list on stdin."""

import glob
import logging
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS, files_below
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.intake.audio_tree import sort_files, unconverted
from voxadapt.recipes.running.command_line import UsageError

logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"


def find_files(names: Sequence[str], listed: BinaryIO | None = None) -> list[Path]:
    """Files as they are named, each once, in the order of the names.

    Recordings of a folder or a pattern whose ending says that they must be converted first, and
    that have no converted twin beside them, are counted in a warning.

    Args:
        names: Files; folders, which are searched at all depths for audio by its ending, names that
            begin with a dot passed over; patterns such as ``calls/**/*.wav``, for shells that leave
            them as they are; and ``-``, a list of files on standard input.
        listed: Where the list comes from; None is standard input.

    Returns:
        The files. Those of a list need not be there: each that is not is a file that cannot be
        used, as a list may be older than the folder.

    Raises:
        UsageError: A name is nothing of these, or finds no audio file.
    """
    found: dict[Path, None] = {}  # a set that keeps the order
    for name in names:
        found.update(dict.fromkeys(_named(name, listed)))
    return list(found)


def _named(name: str, listed: BinaryIO | None) -> Iterable[Path]:
    if name == STANDARD_INPUT:
        return _from_list(listed or sys.stdin.buffer)
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return [path]
    if not glob.has_magic(name):
        raise UsageError(f"{name}: there is no such file or folder")
    return _by_pattern(name)


def _in_folder(folder: Path) -> list[Path]:
    found, foreign = _by_ending(sorted(files_below(folder)))
    if not found:
        raise UsageError(f"{folder}: this folder holds no audio file ({_endings()}){foreign}")
    if foreign:
        logger.warning("%s%s", folder, foreign)
    return found


def _by_pattern(pattern: str) -> list[Path]:
    """Files that match, whatever their ending where the pattern itself tells one."""
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]
    files = sorted(path for path in matches if path.is_file())
    told = bool(Path(pattern).suffix) and not glob.has_magic(Path(pattern).suffix)
    found, foreign = (files, "") if told else _by_ending(files)
    if not found:
        endings = "" if told else f" ({_endings()})"
        raise UsageError(f"{pattern}: no audio file matches this pattern{endings}{foreign}")
    if foreign:
        logger.warning("%s%s", pattern, foreign)
    return found


def _by_ending(files: Sequence[Path]) -> tuple[list[Path], str]:
    """The files that are audio by their ending, and what is said of those to convert first."""
    found = [path for path in files if path.suffix.lower() in AUDIO_EXTENSIONS]
    tree = sort_files(Path(), [path.as_posix() for path in files])
    foreign = [one.what for one in unconverted(tree)]
    if not foreign:
        return found, ""
    endings = sorted({Path(name).suffix.lower() for name in foreign})
    made = Path(foreign[0]).with_suffix(".wav").as_posix()
    return found, (
        f": {len(foreign):,} of its files left out, as {some_of(foreign, 2)}, since "
        f"{', '.join(endings)} cannot be read here; convert them to .wav or .flac first, as by "
        f"`ffmpeg -i {shlex.quote(foreign[0])} {shlex.quote(made)}`"
    )


def _from_list(stream: BinaryIO) -> Iterator[Path]:
    """A path a line, or between NUL bytes, as ``find -print0`` writes them."""
    content = stream.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise UsageError("-: standard input holds no path; give one a line")
    yield from paths


def _endings() -> str:
    return ", ".join(sorted(AUDIO_EXTENSIONS))
