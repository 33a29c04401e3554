# SPDX-License-Identifier: Apache-2.0
"""One process at a time writes into a run's folder; the system lets go of it when one dies."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
_held: dict[Path, int] = {}


class FolderInUseError(Exception):
    """Another process writes into the folder; the message says which."""


def hold(folder: Path) -> None:
    """Keep other processes out of a folder until `leaving` ends or this process does.

    Unlike a file that says who is there, the lock cannot outlive a process that is killed, so that
    a run can be resumed at once. Where the file system has no locks, that is said and no more.

    Args:
        folder: The folder; it exists.

    Raises:
        FolderInUseError: Another process holds it.
        OSError: The folder cannot be written.
    """
    key = folder.resolve()
    if key in _held or fcntl is None:
        return
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second is how some file systems say it
        holder = os.read(handle, 200).decode("utf-8", "replace").strip()
        os.close(handle)
        raise FolderInUseError(holder or "another process") from None
    except OSError as error:
        os.close(handle)
        logger.warning(
            "%s: the file system cannot lock it (%s), so nothing keeps a second process out; "
            "start only one",
            folder,
            error,
        )
        return
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
    except OSError:
        pass  # a full disk: the lock holds without a name in it
    _held[key] = handle


@contextmanager
def leaving(folder: Path) -> Iterator[None]:
    """Let go of a folder at the end of the block, if it was held in it."""
    try:
        yield
    finally:
        handle = _held.pop(folder.resolve(), None)
        if handle is not None:
            os.close(handle)
