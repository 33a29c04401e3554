# SPDX-License-Identifier: Apache-2.0
"""An audio file that is open: its header, and its samples block by block in constant memory."""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from .audio_checks import AudioError, check_rate
from .audio_header import AudioHeader, read_header

if TYPE_CHECKING:
    import soundfile


class AudioContent(Protocol):
    """Audio that is no file of its own, such as a member of an archive."""

    @property
    def name(self) -> str:
        """What error messages call it."""
        ...

    def read(self) -> bytes:
        """The content, as a file of its own would hold it.

        Raises:
            OSError: It cannot be read; `FileNotFoundError` where it is not there.
        """
        ...


AudioSource = str | os.PathLike[str] | bytes | AudioContent
"""A path, the content of a file, or what can tell it."""

# Manifests round times to milliseconds or worse; an `end` this far past the file is the file's end.
_END_TOLERANCE_SECONDS = 0.02
_LOSSY_FORMATS = ("MP3", "OGG")
_LOSSY_LEAD_SECONDS = 2.0
_BLOCK_SAMPLES = 1 << 20
# What libsndfile gives as the length of a stream whose header does not tell it.
_UNKNOWN_FRAMES = 2**63 - 1


class AudioFile:
    """An open audio file; `open_audio` makes one.

    Attributes:
        name: What error messages call it.
        rate: Samples per second (Hz), by the header.
        channels: At least one.
        frames: Samples per channel; what a header announces and the file lacks is counted.
        container: What holds the samples: `WAV`, `FLAC`, `OGG`, `MP3`, ...
        encoding: How they are stored: `PCM_16`, `FLOAT`, `VORBIS`, ...
        header: What else the header says.
    """

    def __init__(self, name: str, opened: soundfile.SoundFile, header: AudioHeader) -> None:
        self.name = name
        self.rate: int = opened.samplerate
        self.channels: int = opened.channels
        self.container: str = opened.format
        self.encoding: str = opened.subtype
        self.header = header
        self._opened = opened
        self._read_before = False
        self.frames = self._announced_frames()

    @property
    def seconds(self) -> float:
        """The length by the header (seconds); infinite where it does not say."""
        return math.inf if self.frames == _UNKNOWN_FRAMES else self.frames / max(1, self.rate)

    def blocks(
        self, start: float | None = None, end: float | None = None
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Decode a part of the file, about a million numbers at a time.

        Args:
            start: Where it begins (seconds); None is the file's beginning.
            end: Where it ends (seconds); None is the file's end. Up to 20 ms past the file's end is
                taken as the file's end.

        Yields:
            `[S, channels]` float32.

        Raises:
            AudioError: The rate or the segment is out of range, or the file is damaged or was cut
                off; that may show after some blocks.
        """
        check_rate(self.name, self.rate)
        if self.frames == _UNKNOWN_FRAMES:
            raise AudioError(
                self.name,
                "unreadable",
                f"{self.name} does not say how long it is, as streams written to a pipe do, and "
                "cannot be read to its end: write it again to a file (`ffmpeg -i OLD NEW.flac`).",
            )
        first, last = self._bounds(start, end)
        lead = self._seek(first) if first or self._read_before else 0
        self._read_before = True
        most = max(1, _BLOCK_SAMPLES // self.channels)
        while first < last:
            with _library_errors(self.name):
                wanted = min(lead + last - first, most)
                block = self._opened.read(wanted, dtype="float32", always_2d=True)
            if not len(block):
                break
            skipped = min(lead, len(block))
            lead -= skipped
            first += len(block) - skipped
            if skipped < len(block):
                yield block[skipped:]
        missing = (last - first) / self.rate
        if self.header.ended is False and last == self.frames:
            raise _cut_off(self.name, "in the middle of a page")
        # Some programs' headers are off by a few samples.
        if missing > _END_TOLERANCE_SECONDS:
            raise _cut_off(self.name, f"{missing:.3f} s before its header says")

    def _seek(self, first: int) -> int:
        """Go to sample `first` or a little before, and return how many samples before it is.

        An MP3 frame may borrow bits from half a second of frames before it, and Vorbis overlaps its
        blocks: right after a seek both give silence or half a signal. (In Vorbis files of steady
        tones libsndfile 1.2 may land 128 samples off; in none of speech was that seen.)
        """
        lead = 0
        if self.container in _LOSSY_FORMATS:
            lead = min(first, round(_LOSSY_LEAD_SECONDS * self.rate))
        with _library_errors(self.name):
            self._opened.seek(min(first - lead, self._opened.frames))
        return lead

    def _announced_frames(self) -> int:
        frames: int = self._opened.frames
        announced, present = self.header.announced_bytes, self.header.present_bytes
        if announced and present and announced > present and frames != _UNKNOWN_FRAMES:
            return round(frames * announced / present)
        return frames

    def _bounds(self, start: float | None, end: float | None) -> tuple[int, int]:
        begins, ends = start or 0.0, math.inf if end is None else end
        if not (math.isfinite(begins) and 0 <= begins < ends) or end == math.inf:
            raise AudioError(
                self.name,
                "out of range",
                f"The segment of {self.name} runs from {start} to {end} s, but 0 <= start < end is "
                "needed: correct start and end.",
            )
        if not self.frames:
            return 0, 0
        # Compared in seconds: a huge time in samples is no number that an int could be made of.
        if begins * self.rate >= self.frames or (
            end is not None and end > self.seconds + _END_TOLERANCE_SECONDS
        ):
            raise AudioError(
                self.name,
                "out of range",
                f"The segment of {self.name} runs from {start} to {end} s, but the file has "
                f"{self.seconds:.3f} s: correct start and end, or the file is not the one meant.",
            )
        last = self.frames if end is None else round(end * self.rate)
        return round(begins * self.rate), min(last, self.frames)


@contextmanager
def open_audio(source: AudioSource) -> Iterator[AudioFile]:
    """Open a file, or the content of one, and read its header.

    The name plays no part: what a file is, its content tells.

    Args:
        source: Path, or the content of an audio file as bytes or as `AudioContent`.

    Raises:
        AudioError: It is missing, empty, no regular file, or nothing that libsndfile reads.

    Example:
        >>> with open_audio("clip.flac") as audio:
        ...     loudest = max(abs(block).max() for block in audio.blocks())
    """
    import soundfile

    with ExitStack() as stack:
        name, stream = _open_source(source, stack)
        with _library_errors(name):
            header = read_header(stream)
            stream.seek(0)
            # Through a file descriptor the library reads by itself. Through Python's streams it
            # calls back for each read, and prints a traceback when garbage makes it seek below 0.
            direct = os.name == "posix" and isinstance(source, (str, os.PathLike))
            if direct:
                os.lseek(stream.fileno(), 0, os.SEEK_SET)
            handle = stream.fileno() if direct else stream
            opened = stack.enter_context(soundfile.SoundFile(handle, closefd=False))
        # Else soundfile seeks to where it is after every read, and an MP3 frame has lost what it
        # borrows from the ones before.
        opened.seekable = lambda: False
        yield AudioFile(name, opened, header)


class _Bytes(io.BytesIO):
    """Bytes in memory that stay where they are when they are told to go where nothing is."""

    def seek(self, offset: int, whence: int = 0) -> int:
        place = (0, self.tell(), len(self.getbuffer()))[whence] + offset
        return super().seek(place) if place >= 0 else self.tell()


def _open_source(source: AudioSource, stack: ExitStack) -> tuple[str, BinaryIO]:
    if isinstance(source, bytes):
        return "<bytes>", _in_memory("<bytes>", source)
    if not isinstance(source, (str, os.PathLike)):
        with _missing_or_unreadable(source.name):
            content = source.read()
        return source.name, _in_memory(source.name, content)
    path = Path(source)
    name = str(path)
    with _missing_or_unreadable(name):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            raise OSError("it is a folder, a pipe or a device")
        stream = stack.enter_context(path.open("rb"))
    if found.st_size == 0:
        raise _no_bytes(name, "copy or record it again")
    return name, stream


def _in_memory(name: str, content: bytes) -> BinaryIO:
    if not content:
        raise _no_bytes(name, "give the whole file")
    return _Bytes(content)


def _no_bytes(name: str, way_out: str) -> AudioError:
    return AudioError(name, "empty", f"{name} holds 0 bytes: {way_out}.")


@contextmanager
def _missing_or_unreadable(name: str) -> Iterator[None]:
    """Turn the disk's refusal into an error that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise AudioError(
            name, "missing", f"{name} does not exist: check the path, or take it off the list."
        ) from error
    except (OSError, ValueError) as error:
        raise AudioError(
            name,
            "unreadable",
            f"{name} cannot be opened ({getattr(error, 'strerror', None) or error}): give a file "
            "that may be read.",
        ) from error


@contextmanager
def _library_errors(name: str) -> Iterator[None]:
    """Turn what the decoder may raise on garbage into an error that names the file."""
    import soundfile

    try:
        yield
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        # Without the file handle's number, which libsndfile puts before it.
        told = str(getattr(error, "error_string", error))
        raise AudioError(
            name,
            "unreadable",
            f"{name} cannot be decoded: {told.rstrip('.')}. soundfile reads WAV, FLAC, OGG, "
            "MP3 and AIFF: convert the file to one of them, or copy it again if it is damaged.",
        ) from error


def _cut_off(name: str, where: str) -> AudioError:
    return AudioError(name, "truncated", f"{name} ends {where}: it was cut off, so copy it again.")
