# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, whenever the process is killed."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"
"""Ending of files that were being written when their process was killed; nobody reads them."""


def write_aside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name in the same folder, and rename it when it is on the disk.

    A reader sees the old file or the new one and never a part of one; of two writers, the later
    one wins.

    Args:
        path: The file to make or replace; its folder exists.
        write: Writes the content to the open file that it is given.

    Raises:
        OSError: If the disk is full or may not be written; the file is then as it was.
    """
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with aside.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to the disk, where the system lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows: a rename is as safe there as it gets
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
