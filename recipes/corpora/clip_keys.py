# SPDX-License-Identifier: Apache-2.0
"""What a clip's features are stored under: the content of its audio, not its name."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from voxadapt.recipes.corpora.clip import Clip

READERS = min(8, os.cpu_count() or 1)
"""Threads that read audio. Hashing and decoding leave Python's lock, so threads are enough."""

_CHUNK_BYTES = 1 << 20
_PART = 4096

Item = TypeVar("Item")
Result = TypeVar("Result")
_DAY_SECONDS = 86_400.0


def clip_keys(clips: Sequence[Clip], *, progress: bool = False) -> list[str | None]:
    """Return a key for each clip: 32 hexadecimal digits of the file's bytes and the segment.

    A file that is moved or renamed keeps its key, and one whose content changes gets another. Every
    file is read whole for that, each once; date and size would be quicker and wrong after a copy.

    Args:
        clips: The clips.
        progress: Whether to show a bar where this takes more than seconds.

    Returns:
        Aligned with `clips`; None where the file cannot be read.
    """
    paths = list(dict.fromkeys(clip.path for clip in clips))
    bar = tqdm(total=len(paths), desc="audio files", unit="file", delay=3, disable=not progress)
    with bar:
        digests: dict[Path, bytes | None] = {}
        for path, digest in zip(paths, map_in_threads(_content_digest, paths), strict=True):
            digests[path] = digest
            bar.update()
    return [_clip_key(digests[clip.path], clip) for clip in clips]


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield a function's results in the items' order, computed by `READERS` threads."""
    with ThreadPoolExecutor(READERS) as pool:
        # A pool makes an object of a kilobyte for each item as soon as it is told of it.
        for first in range(0, len(items), _PART):
            yield from pool.map(function, items[first : first + _PART])


def clip_seconds(clip: Clip) -> float:
    """Return the clip's length in seconds as the file's header tells it, without decoding.

    It serves to plan batches, so a wrong header costs memory or time and never a wrong result.

    Returns:
        The length; 0 where the file cannot be read, a day where the header does not know.
    """
    import soundfile

    try:
        info = soundfile.info(str(clip.path))
    except (soundfile.SoundFileError, OSError, TypeError):
        return 0.0
    end = min(info.frames / max(1, info.samplerate), _DAY_SECONDS)
    if clip.end is not None:
        end = min(end, clip.end)
    return max(0.0, end - (clip.start or 0.0))


def _content_digest(path: Path) -> bytes | None:
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()


def _clip_key(content: bytes | None, clip: Clip) -> str | None:
    if content is None:
        return None
    segment = f"{clip.start or 0.0!r} {clip.end!r}".encode()
    return blake2b(content + segment, digest_size=16).hexdigest()
