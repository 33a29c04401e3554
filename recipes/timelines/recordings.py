# SPDX-License-Identifier: Apache-2.0
"""Recordings that were named on a command line, and where what is made of them goes."""

from collections.abc import Sequence
from pathlib import Path

from voxadapt.recipes.predicting.audio_files import find_files


def find_recordings(names: Sequence[str]) -> dict[Path, Path]:
    """Find recordings, each once, in the order in which they are named.

    Args:
        names: As in `find_files`: files, folders, patterns, and a list on standard input.

    Returns:
        Each file's path, and what of it is kept where its outputs go: of a file in a folder that
        is named, its path below that; of any other, its name.

    Raises:
        UsageError: A name is nothing of these, or finds no audio file.
    """
    found: dict[Path, Path] = {}
    for name in names:
        folder = Path(name)
        for path in find_files([name]):
            kept = path.relative_to(folder) if folder.is_dir() else Path(path.name)
            found.setdefault(path, kept)
    return found
