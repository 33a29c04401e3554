# SPDX-License-Identifier: Apache-2.0
"""Finds the audio file that a table or a list names, where the tree is not quite as it says."""

import os
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS
from voxadapt.recipes.corpora.intake.audio_tree import FOREIGN_EXTENSIONS, list_tree


class AudioLookup:
    """Looks up audio below a folder: as it is named, under another ending, or by its last parts.

    Args:
        folder: The folder (absolute) that names are relative to.

    Attributes:
        by_ending: Names that were found under another ending than the one they were given with.
        by_tail: Names that were found elsewhere in the tree, by the last parts of the path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_ending: list[str] = []
        self.by_tail: list[str] = []
        self._name_of: dict[Path, str] = {}

    def find(self, name: str) -> Path | None:
        """Return the file of a name, absolute; None where there is none, or more than one.

        Args:
            name: A path as a table has it: relative (also with backslashes), absolute, with an
                ending of audio, of a video that was converted, or with none.
        """
        direct = self._direct(name)
        if direct is not None:
            return direct
        tail = self._by_tail(name.replace("\\", "/"))
        if tail is None or self._name_of.setdefault(tail, name) != name:
            return None  # two names for one file: at least one of them is another's
        self.by_tail.append(name)
        return tail

    def _direct(self, name: str) -> Path | None:
        for spelled in _spellings(name):
            path = Path(os.path.normpath(self.folder / spelled))
            if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file():
                return path
            stems = [path.with_name(f"{path.name}{ending}") for ending in AUDIO_EXTENSIONS]
            if path.suffix.lower() in (*AUDIO_EXTENSIONS, *FOREIGN_EXTENSIONS):
                stems += [path.with_suffix(ending) for ending in AUDIO_EXTENSIONS]
            other = next((stem for stem in stems if stem.is_file()), None)
            if other is not None:
                self.by_ending.append(name)
                return other
        return None

    def _by_tail(self, name: str) -> Path | None:
        """The one file whose path ends as the name does, as far as the shorter of the two goes.

        Of several, the one with the most parts in common counts. A file in another folder than the
        named one is another file, even where it is the only one so called.
        """
        best: list[str] = []
        most = 0
        for spelled in _spellings(name):
            wanted = _tail(spelled)
            for path in self._files_by_stem.get(wanted[0], ()):
                pairs = list(zip(wanted, _tail(path), strict=False))
                if any(one != other for one, other in pairs) or len(pairs) < most:
                    continue
                if len(pairs) > most:
                    best, most = [], len(pairs)
                if path not in best:
                    best.append(path)
        return self.folder / best[0] if len(best) == 1 else None

    @cached_property
    def _files_by_stem(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for path in list_tree(self.folder).audio if self.folder.is_dir() else []:
            files.setdefault(_tail(path)[0], []).append(path)
        return files


def _tail(path: str) -> list[str]:
    """The parts of a path, last one first and without its ending, in lower case."""
    pure = PurePosixPath(unicodedata.normalize("NFC", path).casefold())
    recorded = pure.suffix in (*AUDIO_EXTENSIONS, *FOREIGN_EXTENSIONS)
    return [pure.stem if recorded else pure.name, *reversed(pure.parts[:-1])]


def _spellings(name: str) -> Iterator[str]:
    """A name as written, with slashes, and as it reads once an unzipper's mistake is undone."""
    plain = name if os.sep == "\\" else name.replace("\\", "/")
    yield name
    if plain != name:
        yield plain
    if plain.isascii():
        return
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, plain)
    try:
        # Zip archives of old spell é in code page 850, and unzippers read it as Windows-1252.
        mended = plain.encode("cp1252").decode("cp850")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return
    yield mended
    yield unicodedata.normalize("NFD", mended)
