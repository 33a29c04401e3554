# SPDX-License-Identifier: Apache-2.0
"""Files, bytes and arrays become mono float samples at 16 kHz; `audio_file` decodes for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .audio_checks import AudioError, check_content, check_rate, is_silent
from .audio_file import AudioFile, AudioSource, open_audio

__all__ = ["SAMPLE_RATE", "AudioError", "audio_seconds", "prepare_samples", "read_audio"]

SAMPLE_RATE = 16_000
"""Samples per second (Hz) of everything that leaves this file."""

_MOST_CHANNELS = 64
# Offset and full scale of the integer types that audio comes in. 64-bit integers are not among
# them: they are nearly always 16-bit samples in numpy's default type.
_INTEGER_SCALES = {
    torch.uint8: (128.0, 128.0),
    torch.int8: (0.0, 128.0),
    torch.int16: (0.0, 32_768.0),
    torch.int32: (0.0, 2_147_483_648.0),
}


def read_audio(
    source: AudioSource,
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
        AudioError: The file is missing, unreadable, truncated, empty, silent, not finite, too
            short, or the segment or the sample rate is out of range.

    Example:
        >>> samples = read_audio("clip.flac", start=1.5, end=4.0)
    """
    with open_audio(source) as audio:
        samples, cancels = _read_mono(audio, start, end)
        name, rate = audio.name, audio.rate
    return _finish(samples, rate, name, minimum_seconds, cancels)


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
    tensor = _as_tensor(samples, source)
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


def _as_tensor(samples: Tensor | np.ndarray[Any, Any], source: str) -> Tensor:
    if isinstance(samples, np.ndarray) and (
        # torch takes neither arrays that run backwards nor another machine's order of bytes.
        any(stride < 0 for stride in samples.strides) or not samples.dtype.isnative
    ):
        samples = np.array(samples, dtype=samples.dtype.newbyteorder("="), order="C")
    try:
        return torch.as_tensor(samples).detach().cpu()
    except TypeError as error:
        raise ValueError(
            f"{source} cannot be made a tensor ({error}): give an array of float or integer "
            "samples."
        ) from error


def audio_seconds(source: AudioSource) -> float:
    """Return a file's length in seconds as its header tells it, without decoding.

    Returns:
        The length; infinite where the header does not know.

    Raises:
        AudioError: The file is missing, empty or unreadable, or its rate is out of range.
    """
    with open_audio(source) as audio:
        check_rate(audio.name, audio.rate)
        return audio.seconds


def _read_mono(audio: AudioFile, start: float | None, end: float | None) -> tuple[Tensor, bool]:
    """Decode one part of an open file to mono `[S]`, and say whether the channels cancel out."""
    blocks: list[np.ndarray[Any, Any]] = []
    channels_sound = False
    # Block by block: all channels of a long file at once could be many times what is kept of it.
    for block in audio.blocks(start, end):
        blocks.append(mix_down(block))
        if audio.channels > 1:
            channels_sound = channels_sound or not is_silent(torch.from_numpy(block))
    samples = torch.empty(sum(map(len, blocks)))
    place = 0
    blocks.reverse()
    while blocks:  # each goes as it is copied: of a file of hours, there is only room for one
        block = blocks.pop()
        samples[place : place + len(block)] = torch.from_numpy(block)
        place += len(block)
    return samples, channels_sound and is_silent(samples)


def mix_down(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Average channels: `[S, channels]` to `[S]`."""
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # infinite samples are found later
        return block.mean(axis=1)


def _finish(samples: Tensor, rate: int, name: str, minimum_seconds: float, cancels: bool) -> Tensor:
    """Check mono samples `[S]` and convert their rate."""
    check_content(samples, rate, name, minimum_seconds, cancels)
    if rate == SAMPLE_RATE:
        return samples
    return resampler(rate)(samples)


@functools.lru_cache(maxsize=32)
def resampler(rate: int) -> Callable[[Tensor], Tensor]:
    """A converter to 16 kHz with its kernel computed once.

    The kernel has as many rows as the reduced ratio has output samples, so a rate like 44,101 Hz
    would take gigabytes. Such a ratio is taken to its closest neighbour with terms up to a thousand
    or so, which is off by less than a millionth; every usual rate is exact.
    """
    # Imported here, so that 16 kHz audio needs no torchaudio: it fails to import beside some torch.
    import torchaudio

    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(1_000)
    return torchaudio.transforms.Resample(ratio.numerator, ratio.denominator)
