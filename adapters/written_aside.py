# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are there whole or not at all, whenever the process is killed."""

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"
"""Ending of what was being written when its process was killed; nobody reads it."""


def write_aside(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file under another name in the same folder, and rename it when it is on the disk.

    A reader sees the old file or the new one and never a part of one; of two writers, the later
    one wins.

    Args:
        path: The file to make or replace; its folder exists.
        content: What shall be in it, or a function that writes it to the open file it is given.

    Raises:
        OSError: If the disk is full or may not be written; the file is then as it was.
    """
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with aside.open("xb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                content(stream)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_folder_aside(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder of files under another name beside it, and rename it when it is on the disk.

    A folder can only be renamed to a free name, so an old one is moved out of the way first: a
    process killed between the two renames leaves none. At no moment is there a part of one.

    Args:
        folder: The folder to make or replace; its parent exists.
        write: Writes files into the empty folder that it is given.

    Raises:
        OSError: If the disk is full or may not be written; the folder is then as it was.
    """
    name = f"{folder.name}.{uuid.uuid4().hex}"
    aside = folder.with_name(f"{name}{UNFINISHED}")
    old = folder.with_name(f"{name}.old{UNFINISHED}")
    try:
        aside.mkdir()
        write(aside)
        for path in aside.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        _sync_folder(aside)
        if folder.exists():
            folder.rename(old)
        aside.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left unfinished in a folder; no process may be at it."""
    for leftover in folder.glob(f"*{UNFINISHED}"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


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
