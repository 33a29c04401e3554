# SPDX-License-Identifier: Apache-2.0
"""What the header of an audio file announces, where libsndfile does not compare it with the file.

libsndfile takes a WAV, AIFF or AU file that was cut off for a shorter one, and an Ogg stream for
ended where its last whole page ends. The sizes are all in the headers, so they are read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# A program that writes to a pipe cannot know the size; all use one of the largest numbers.
_SMALLEST_PLACEHOLDER = 0x7FFF_0000
_MOST_CHUNKS = 10_000
_OGG_TAIL_BYTES = 1 << 16  # a page has at most 65,307 bytes
# WAV's format tags of samples that all take the same number of bytes: PCM, float, extensible.
_PLAIN_TAGS = (1, 3, 0xFFFE)


@dataclass(frozen=True)
class AudioHeader:
    """What a header says; None where it says nothing, or nothing that can be relied on.

    Attributes:
        announced_bytes: Bytes of audio that there should be.
        present_bytes: How many of them there are.
        implied_rate: The sample rate (Hz) by the bytes a second and the bytes a sample.
        ended: Whether an Ogg stream ends with a whole page. That it is marked as the last one is
            not asked: streams that were recorded from a network have no such mark.
    """

    announced_bytes: int | None = None
    present_bytes: int | None = None
    implied_rate: float | None = None
    ended: bool | None = None


def read_header(stream: BinaryIO) -> AudioHeader:
    """Read the header of a WAV, AIFF, AU or Ogg file; of anything else, or of garbage, nothing.

    Args:
        stream: The file, open for reading; its position is moved.

    Raises:
        OSError: The file cannot be read.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    start = stream.read(24)
    kind, form = start[:4], start[8:12]
    if kind in (b"RIFF", b"RIFX", b"RF64") and form == b"WAVE":
        return _read_wave(stream, size, ">" if kind == b"RIFX" else "<")
    if kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        for name, place, announced in _chunks(stream, size, ">"):
            if name == b"SSND":
                return _compare(announced, place, size)
    if kind == b".snd" and len(start) >= 12:
        offset, announced = struct.unpack(">II", start[4:12])
        return _compare(announced, offset, size)
    if kind == b"OggS":
        return AudioHeader(ended=_ogg_has_ended(stream, size))
    return AudioHeader()


def _read_wave(stream: BinaryIO, size: int, order: str) -> AudioHeader:
    implied_rate = None
    long_size = None
    for name, place, announced in _chunks(stream, size, order):
        if name == b"fmt " and announced >= 16:
            implied_rate = _implied_rate(stream.read(16), order)
        elif name == b"ds64":  # sizes that do not fit into 32 bits
            long_size = struct.unpack("<Q", stream.read(16)[8:].ljust(8, b"\0"))[0]
        elif name == b"data":
            if announced == 0xFFFF_FFFF and long_size is not None:
                announced = long_size
                sizes = AudioHeader(announced, max(0, min(announced, size - place)))
            else:
                sizes = _compare(announced, place, size)
            return AudioHeader(sizes.announced_bytes, sizes.present_bytes, implied_rate)
    return AudioHeader(implied_rate=implied_rate)


def _implied_rate(form: bytes, order: str) -> float | None:
    if len(form) < 16:
        return None
    tag, _, _, byte_rate, block_bytes, _ = struct.unpack(f"{order}HHIIHH", form)
    return byte_rate / block_bytes if tag in _PLAIN_TAGS and byte_rate and block_bytes else None


def _chunks(stream: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, where its content begins, and how many bytes it announces."""
    place = 12
    for _ in range(_MOST_CHUNKS):
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            return
        announced = struct.unpack(f"{order}I", head[4:])[0]
        yield head[:4], place + 8, announced
        place += 8 + announced + announced % 2
        if place >= size:
            return


def _compare(announced: int, place: int, size: int) -> AudioHeader:
    present = max(0, size - place)
    if announced == 0 or (announced >= _SMALLEST_PLACEHOLDER and announced > present):
        return AudioHeader()
    return AudioHeader(announced, min(announced, present))


def _ogg_has_ended(stream: BinaryIO, size: int) -> bool:
    """Whether the last page is whole."""
    begins = max(0, size - _OGG_TAIL_BYTES)
    stream.seek(begins)
    tail = stream.read(_OGG_TAIL_BYTES)
    place = tail.rfind(b"OggS")
    while place >= 0:
        page = tail[place:]
        if len(page) >= 27 and page[4] == 0 and len(page) >= 27 + page[26]:
            whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
            return len(page) >= whole
        # Cut within its head, or the four letters stood by chance in the audio.
        if len(page) < 27 or page[4] == 0:
            return False
        place = tail.rfind(b"OggS", 0, place)
    return False
