# SPDX-License-Identifier: Apache-2.0
"""What a clip's features are stored under: the content of its audio, not its name."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from voxadapt.backbones.audio import AudioError, audio_seconds
from voxadapt.recipes.corpora.clip import Clip, ClipSource

READERS = min(8, os.cpu_count() or 1)
"""Threads that read audio. Hashing and decoding leave Python's lock, so threads are enough."""

_CHUNK_BYTES = 1 << 20
_PART = 4096

Digests = list[bytes | None]
Gather = Callable[[Digests], list[Digests]]
Item = TypeVar("Item")
Result = TypeVar("Result")
_DAY_SECONDS = 86_400.0


def clip_keys(
    clips: Sequence[Clip],
    *,
    progress: bool = False,
    rank: int = 0,
    world: int = 1,
    gather: Gather | None = None,
) -> list[str | None]:
    """Return a key for each clip: 32 hexadecimal digits of the file's bytes and the segment.

    A file that is moved or renamed keeps its key, and one whose content changes gets another. Every
    file is read whole for that, each once; date and size would be quicker and wrong after a copy.

    Args:
        clips: The clips.
        progress: Whether to show a bar where this takes more than seconds.
        rank: This process, from 0.
        world: The number of processes.
        gather: Gives every process what each of them found, in their order. With it each file is
            read by one process; without, by every process.

    Returns:
        Aligned with `clips`; None where the file cannot be read.
    """
    audio = {clip.path: clip.audio for clip in clips}
    if gather is None:
        rank, world = 0, 1
    mine = list(audio.values())[rank::world]
    whose = "" if world == 1 else f" (1 of {world} processes)"
    bar = tqdm(
        total=len(mine), desc=f"audio files{whose}", unit="file", delay=3, disable=not progress
    )
    found: Digests = []
    with bar:
        for digest in map_in_threads(content_digest, mine):
            found.append(digest)
            bar.update()
    shares = [found] if gather is None else gather(found)
    digests = {path: shares[place % world][place // world] for place, path in enumerate(audio)}
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
    try:
        known = None if clip.source is None else clip.source.seconds
        end = min(audio_seconds(clip.audio) if known is None else known, _DAY_SECONDS)
    except AudioError:
        return 0.0
    if clip.end is not None:
        end = min(end, clip.end)
    return max(0.0, end - (clip.start or 0.0))


def content_digest(audio: Path | ClipSource | bytes) -> bytes | None:
    """Return 16 bytes that only the same content has; None where it cannot be read."""
    digest = blake2b(digest_size=16)
    try:
        if not isinstance(audio, Path):
            if isinstance(audio, bytes):
                digest.update(audio)
            elif audio.digest is not None:
                return audio.digest
            else:
                digest.update(audio.read())
            return digest.digest()
        if not audio.is_file():  # opening a pipe would wait for ever
            return None
        with audio.open("rb") as stream:
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
