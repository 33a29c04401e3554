# SPDX-License-Identifier: Apache-2.0
"""The folder that Gradio writes uploads to: its own for each server, and kept empty."""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

_PREFIX = "voxadapt-serve-"
_SWEEP_SECONDS = 10.0
# The player fetches the file that it has just uploaded, once, at about the time that it is read.
_LINGER_SECONDS = 3.0
# What is left comes of uploads that broke off, and is as old as its last byte.
_OLDEST_SECONDS = 60.0


class UploadFolder:
    """A folder in the system's one for temporary files, which is deleted with this server.

    To be made before Gradio is imported, which makes a folder where it believes that uploads go.

    Attributes:
        path: The folder.
    """

    def __init__(self) -> None:
        delete_orphans()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")
        self.path = Path(self._folder.name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(self.path)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep it as long as this context lasts, and delete it afterwards."""
        sweeping = asyncio.create_task(self._sweep_on())
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            self._folder.cleanup()

    def holds(self, name: str | Path) -> bool:
        """Whether a path, links followed, leads to a file in this folder."""
        path = Path(name)
        return path.is_absolute() and self.path in path.resolve().parents and path.is_file()

    async def take(self, name: str) -> bytes:
        """Read an uploaded file; it is deleted within seconds.

        Gradio names uploads by their content, so that the same recording, sent again meanwhile,
        lies under the same path: that one is left to whoever reads it.

        Args:
            name: Its path, as Gradio gives it.

        Raises:
            ValueError: It is not in this folder.
            OSError: It is not there any more.
        """
        if not self.holds(name):
            raise ValueError(f"{Path(name).name} is no upload, or is deleted already")
        path = Path(name).resolve()
        upload = _identify(path)
        try:
            return await asyncio.to_thread(path.read_bytes)
        finally:
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, delete_file, path, upload)

    def sweep(self, oldest: float = _OLDEST_SECONDS) -> None:
        """Delete what has not been written to for so many seconds."""
        latest = time.time() - oldest
        for folder, _, files in os.walk(self.path, topdown=False):
            for name in files:
                with contextlib.suppress(OSError):  # gone meanwhile
                    if os.lstat(os.path.join(folder, name)).st_mtime <= latest:
                        os.unlink(os.path.join(folder, name))
            if Path(folder) != self.path:
                with contextlib.suppress(OSError):  # not empty
                    os.rmdir(folder)

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await asyncio.to_thread(self.sweep)


def delete_file(path: Path, upload: tuple[int, int]) -> None:
    """Delete a file, and its folder where nothing else is in it.

    Args:
        path: The file.
        upload: What `_identify` said of it; another one that lies there by now stays.
    """
    with contextlib.suppress(OSError):  # gone already, or another file is in there
        if _identify(path) == upload:
            path.unlink()
        path.parent.rmdir()


def _identify(path: Path) -> tuple[int, int]:
    """What tells a file from one that was put in its place: its inode, and when it was written."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def delete_orphans() -> None:
    """Delete the folders of servers that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        found = re.match(rf"{_PREFIX}(\d+)-", path.name)
        if found and not _is_alive(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
