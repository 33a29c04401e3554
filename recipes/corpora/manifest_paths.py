# SPDX-License-Identifier: Apache-2.0
"""The audio files that a manifest names: whether they are there, and inside of its folder."""

import os
from pathlib import Path

LISTED_FROM = 16
"""A folder is listed when so many of its files have been asked for. One call then answers for all
of them; before, listing a large folder would cost more than asking for a few files."""

_SHOWN = 200


class _Folder:
    """A folder that paths of the manifest name.

    Attributes:
        path: Its absolute path, normalised without following links.
        inside: Whether it is the manifest's folder or lies below it.
        files: Names of files that are there, each with its path once someone asked for it.
    """

    __slots__ = ("asked", "files", "inside", "path")

    def __init__(self, path: str, inside: bool) -> None:
        self.path = Path(path)
        self.inside = inside
        self.files: dict[str, Path | None] = {}
        self.asked = 0

    def find(self, name: str) -> Path | None:
        """Return the path of a file in it; None where there is no such file."""
        path = self.files.get(name)
        if path is None:
            path = self.path / name
            # A listing may spell a name in another way than a file system that folds case does,
            # so only what it has is certain.
            if name not in self.files and not self._is_file(name, path):
                return None
            self.files[name] = path
        return path

    def _is_file(self, name: str, path: Path) -> bool:
        self.asked += 1
        if self.asked == LISTED_FROM:
            self._list()
            if name in self.files:
                return True
        return os.path.isfile(path)

    def _list(self) -> None:
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.is_file():
                        self.files.setdefault(entry.name, None)
        except (OSError, ValueError):
            return  # a folder that may not be listed: its files are asked for one by one


class AudioPaths:
    """Finds the files of a manifest.

    Paths are normalised as text and links are not followed: folders of links (the cache of the
    Hugging Face hub is one) keep a manifest beside its audio only by the names of the links. What
    is checked is what is opened later: `link/../a.wav` is `a.wav` here, wherever the link leads.

    Args:
        folder: Where the manifest lies (absolute): paths are relative to it.
        allow_outside: Whether audio may lie outside of `folder`.
    """

    def __init__(self, folder: str, *, allow_outside: bool) -> None:
        self._root = folder
        self._allow_outside = allow_outside
        self._folders: dict[str, _Folder] = {}  # as written

    def find(self, written: str) -> Path | str:
        """Return the absolute path of a file, or what is wrong with it.

        Args:
            written: The path as the manifest has it; not empty. The same file, written in the same
                way, is the same object, so that a million segments of it do not need a million.
        """
        directory, name = os.path.split(written)
        folder = self._folders.get(directory)
        if folder is None:
            absolute = self._normalised(directory)
            inside = os.path.join(absolute, "").startswith(os.path.join(self._root, ""))
            folder = self._folders[directory] = _Folder(absolute, inside)
        if not folder.inside and not self._allow_outside:
            return (
                f"path {shown(written)} leads out of the manifest's folder {self._root}; move the "
                "audio into it, or allow it by --allow-outside"
            )
        return folder.find(name) or self._missing(written, folder.path / name)

    def _normalised(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._root, path))

    def _missing(self, written: str, absolute: Path) -> str:
        if os.path.isdir(absolute):
            return f"path {shown(written)} is a folder; name an audio file"
        slashes = "; write / instead of \\" if "\\" in written else ""
        return f"path {shown(written)} does not exist (looked in {self._root}){slashes}"


def shown(text: str) -> str:
    """Return a text in quotes for a message, its end left out where it is very long."""
    if len(text) <= _SHOWN:
        return repr(text)
    return f"{text[:_SHOWN]!r}... ({len(text):,} characters)"


def printable(path: str) -> str:
    r"""Return a path as text that any file can hold: a byte that is no UTF-8 as `\udcff`."""
    return path.encode("utf-8", "backslashreplace").decode()
