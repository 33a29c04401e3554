# SPDX-License-Identifier: Apache-2.0
"""The one place that decodes audio: files, bytes and arrays become mono float samples at 16 kHz."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .audio_checks import AudioError, check_content, check_rate, is_silent

if TYPE_CHECKING:
    import soundfile

SAMPLE_RATE = 16_000
"""Samples per second (Hz) of everything that leaves this file."""

# Manifests round times to milliseconds or worse; an `end` this far past the file is the file's end.
_END_TOLERANCE_SECONDS = 0.02
_LOSSY_FORMATS = ("MP3", "OGG")
_LOSSY_LEAD_SECONDS = 2.0
_MOST_CHANNELS = 64
_BLOCK_SAMPLES = 1 << 20
# What libsndfile gives as the length of a stream whose header does not tell it.
_UNKNOWN_FRAMES = 2**63 - 1
# Offset and full scale of the integer types that audio comes in. 64-bit integers are not among
# them: they are nearly always 16-bit samples in numpy's default type.
_INTEGER_SCALES = {
    torch.uint8: (128.0, 128.0),
    torch.int8: (0.0, 128.0),
    torch.int16: (0.0, 32_768.0),
    torch.int32: (0.0, 2_147_483_648.0),
}


def read_audio(
    source: str | os.PathLike[str] | bytes,
    *,
    start: float | None = None,
    end: float | None = None,
    minimum_seconds: float = 0.01,
) -> Tensor:
    """Read a file, or a part of it, as mono samples at 16 kHz.

    WAV, FLAC, OGG, MP3, AIFF and whatever else libsndfile reads. Channels are averaged; the rate is
    converted per file, whatever the other files have. Only the part asked for is decoded.

    Args:
        source: Path, or the content of an audio file as bytes.
        start: Where the clip begins in the file (seconds); None is the file's beginning.
        end: Where it ends (seconds); None is the file's end. Up to 20 ms past the file's end is
            taken as the file's end, since manifests round.
        minimum_seconds: A shorter clip is an error.

    Returns:
        Samples `[S]` float32, in about -1..1.

    Raises:
        AudioError: The file is missing, unreadable, empty, silent, not finite, too short, or the
            segment or the sample rate is out of range.

    Example:
        >>> samples = read_audio("clip.flac", start=1.5, end=4.0)
    """
    import soundfile

    name, stream = _open_source(source)
    try:
        with stream, soundfile.SoundFile(stream) as audio:
            check_rate(name, audio.samplerate)
            samples, cancels = _read_segment(name, audio, start, end)
            rate = audio.samplerate
    # SoundFile raises TypeError for RAW files, which carry no header.
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise AudioError(
            name,
            "unreadable",
            f"{name} cannot be decoded: {str(error).rstrip('.')}. soundfile reads WAV, FLAC, OGG, "
            "MP3 and AIFF: convert the file to one of them, or copy it again if it is damaged.",
        ) from error
    return _finish(torch.from_numpy(samples), rate, name, minimum_seconds, cancels)


def prepare_samples(
    samples: Tensor | np.ndarray[Any, Any],
    sample_rate: int,
    *,
    source: str = "samples",
    minimum_seconds: float = 0.01,
) -> Tensor:
    """Bring samples that are already in memory to mono float at 16 kHz, with `read_audio`'s checks.

    Args:
        samples: `[S]` or `[channels, S]`. Floats are taken as they are, so they should lie in about
            -1..1; int8, int16, int32 and uint8 are scaled to -1..1 by their type.
        sample_rate: Samples per second (Hz). Required: an array does not know its rate.
        source: A name for the samples, for error messages.
        minimum_seconds: A shorter clip is an error.

    Returns:
        Samples `[S]` float32.

    Raises:
        ValueError: Another shape or type.
        AudioError: The samples are empty, silent, not finite or too short, or their values or rate
            are out of range.

    Example:
        >>> tone = np.sin(0.05 * np.arange(44_100))
        >>> prepare_samples(np.stack([tone, tone]), 44_100).shape
        torch.Size([16000])
    """
    tensor = torch.as_tensor(samples).detach().cpu()
    if tensor.dtype in _INTEGER_SCALES:
        offset, scale = _INTEGER_SCALES[tensor.dtype]
        tensor = (tensor.float() - offset) / scale
    elif not tensor.is_floating_point():
        raise ValueError(
            f"{source} has type {tensor.dtype}, but float in -1..1, or int8, int16, int32 or uint8 "
            "is needed: convert it, dividing integers by their full scale."
        )
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim != 2 or tensor.shape[0] > _MOST_CHANNELS:
        raise ValueError(
            f"{source} has shape {list(samples.shape)}, but [S] or [channels, S] with at most "
            f"{_MOST_CHANNELS} channels is needed: transpose it if the channels come last."
        )
    check_rate(source, sample_rate)
    mono = tensor.float().mean(dim=0)  # [S]
    cancels = len(tensor) > 1 and is_silent(mono) and not is_silent(tensor)
    return _finish(mono, sample_rate, source, minimum_seconds, cancels)


def _open_source(source: str | os.PathLike[str] | bytes) -> tuple[str, io.BufferedIOBase]:
    if isinstance(source, bytes):
        if not source:
            raise AudioError("<bytes>", "empty", "<bytes> holds 0 bytes: give the whole file.")
        return "<bytes>", io.BytesIO(source)
    path = Path(source)
    name = str(path)
    try:
        stream = path.open("rb")
        size = os.fstat(stream.fileno()).st_size
    except FileNotFoundError as error:
        raise AudioError(
            name, "missing", f"{name} does not exist: check the path, or take it off the list."
        ) from error
    except (OSError, ValueError) as error:
        raise AudioError(
            name,
            "unreadable",
            f"{name} cannot be opened ({error}): give a file that may be read.",
        ) from error
    if size == 0:
        stream.close()
        raise AudioError(name, "empty", f"{name} holds 0 bytes: copy or record it again.")
    return name, stream


def _read_segment(
    name: str, audio: soundfile.SoundFile, start: float | None, end: float | None
) -> tuple[np.ndarray[Any, Any], bool]:
    """Decode one part of an open file to mono `[S]`, and say whether the channels cancel out."""
    if audio.frames == _UNKNOWN_FRAMES:
        raise AudioError(
            name,
            "unreadable",
            f"{name} does not say how long it is, as streams written to a pipe do, and cannot be "
            "read to its end: write it again to a file (`ffmpeg -i OLD NEW.flac`).",
        )
    first, last = _segment_bounds(name, audio, start, end)
    blocks: list[np.ndarray[Any, Any]] = []
    channels_sound = False
    # Block by block: all channels of a long file at once could be many times what is kept of it.
    while first < last:
        block = _read_block(audio, first, min(last - first, _BLOCK_SAMPLES))
        if not len(block):
            break
        first += len(block)
        blocks.append(block.mean(axis=1))
        channels_sound = channels_sound or not is_silent(torch.from_numpy(block))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)
    if first < last:
        raise AudioError(
            name,
            "unreadable",
            f"{name} ends {(last - first) / audio.samplerate:.3f} s before its header says: it was "
            "cut off, so copy it again.",
        )
    return samples, channels_sound and audio.channels > 1 and is_silent(torch.from_numpy(samples))


def _read_block(audio: soundfile.SoundFile, first: int, count: int) -> np.ndarray[Any, Any]:
    """Read `[count, channels]` from sample `first` on, as a whole decoding has it; less at the end.

    An MP3 frame may borrow bits from half a second of frames before it, and Vorbis overlaps its
    blocks: right after a seek both give silence or half a signal. soundfile seeks after every read
    as well. So lossy formats are decoded from a little before, and that is thrown away.
    """
    lead = 0
    if audio.format in _LOSSY_FORMATS:
        lead = min(first, round(_LOSSY_LEAD_SECONDS * audio.samplerate))
    if audio.tell() != first - lead:
        audio.seek(first - lead)
    return audio.read(lead + count, dtype="float32", always_2d=True)[lead:]


def _segment_bounds(
    name: str, audio: soundfile.SoundFile, start: float | None, end: float | None
) -> tuple[int, int]:
    rate, frames = audio.samplerate, audio.frames
    begins, ends = start or 0.0, math.inf if end is None else end
    if not (math.isfinite(begins) and 0 <= begins < ends) or end == math.inf:
        raise AudioError(
            name,
            "out of range",
            f"The segment of {name} runs from {start} to {end} s, but 0 <= start < end is needed: "
            "correct start and end.",
        )
    first = round(begins * rate)
    last = frames if end is None else round(ends * rate)
    if frames and (first >= frames or last > frames + _END_TOLERANCE_SECONDS * rate):
        raise AudioError(
            name,
            "out of range",
            f"The segment of {name} runs from {start} to {end} s, but the file has "
            f"{frames / rate:.3f} s: correct start and end, or the file is not the one meant.",
        )
    return first, min(last, frames)


def _finish(samples: Tensor, rate: int, name: str, minimum_seconds: float, cancels: bool) -> Tensor:
    """Check mono samples `[S]` and convert their rate."""
    check_content(samples, rate, name, minimum_seconds, cancels)
    if rate == SAMPLE_RATE:
        return samples
    return _resampler(rate)(samples)


@functools.lru_cache(maxsize=32)
def _resampler(rate: int) -> Callable[[Tensor], Tensor]:
    """A converter to 16 kHz with its kernel computed once.

    The kernel has as many rows as the reduced ratio has output samples, so a rate like 44,101 Hz
    would take gigabytes. Such a ratio is taken to its closest neighbour with terms up to a thousand
    or so, which is off by less than a millionth; every usual rate is exact.
    """
    # Imported here, so that 16 kHz audio needs no torchaudio: it fails to import beside some torch.
    import torchaudio

    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(1_000)
    return torchaudio.transforms.Resample(ratio.numerator, ratio.denominator)
