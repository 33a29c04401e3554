# SPDX-License-Identifier: Apache-2.0
"""A file of any length as mono samples at 16 kHz, piece by piece, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .audio_source import Audio, NamedBytes, find_file, read_source
from .backbones import SAMPLE_RATE, AudioError
from .backbones.audio import mix_down, resampler
from .backbones.audio_checks import HIGHEST_SAMPLE, SampleRange, check_range, check_rate, is_silent
from .backbones.audio_file import AudioFile, open_audio

MINIMUM_SECONDS = 0.01
"""As `read_audio` has it: shorter audio cannot be used."""

_PIECE_SECONDS = 10.0
# Blocks of the reduced ratio, see `_resampled`.
_ALIGNMENT = 64


@dataclass(frozen=True)
class AudioStream:
    """Audio that is read as it is asked for.

    Attributes:
        name: What error messages call it.
        seconds: Its length, as its header tells it.
        pieces: ``[S]`` float32 at 16 kHz, one after the other; to be gone through once. An
            `AudioError` may come after some of them.
    """

    name: str
    seconds: float
    pieces: Iterator[Tensor]


@contextmanager
def open_stream(
    source: Audio | NamedBytes, sample_rate: int | None = None
) -> Iterator[AudioStream]:
    """Open what `SpeechClassifier.predict` takes for a clip.

    A file, on disk or in memory, is decoded as it is read, whatever its rate and number of
    channels: the samples are those that `read_audio` gives of the whole file, in pieces. Samples
    are there already, and are one piece.

    Args:
        source: Any clip that `read_source` takes, or the bytes of a file with a name.
        sample_rate: Rate of samples in Hz; needed for samples, not allowed for files.

    Raises:
        AudioError: The audio cannot be used; what only shows later is raised by the pieces.
        ValueError: Samples without a rate, or a file with one.
        TypeError: Something that is no audio.
    """
    file = find_file(source)
    if file is None:
        samples = read_source(source, sample_rate)
        yield AudioStream("samples", len(samples) / SAMPLE_RATE, iter([samples]))
        return
    if sample_rate is not None:
        raise ValueError("sample_rate: goes with samples only; a file says its own rate")
    with open_audio(file) as audio:
        check_rate(audio.name, audio.rate)
        _check_length(audio)
        yield AudioStream(audio.name, audio.seconds, _resampled(_checked(audio), audio.rate))


def _check_length(audio: AudioFile) -> None:
    """Refuse at once what would be found cut off at its end, after hours of work maybe."""
    announced, present = audio.header.announced_bytes, audio.header.present_bytes
    if announced and present is not None and audio.seconds * (1 - present / announced) > 0.02:
        raise AudioError(
            audio.name,
            "truncated",
            f"{audio.name} has {audio.seconds * present / announced:.3f} of the "
            f"{audio.seconds:.3f} s that its header announces: it was cut off, so copy it again.",
        )


def _checked(audio: AudioFile) -> Iterator[np.ndarray[Any, Any]]:
    """Mono blocks ``[S]`` at the file's rate, with the checks of `read_audio`."""
    count, lowest, highest, channels_sound = 0, np.inf, -np.inf, False
    for block in audio.blocks():
        mono = mix_down(block)
        if not np.isfinite(mono).all():
            place = (count + int(np.argmin(np.isfinite(mono)))) / audio.rate
            raise AudioError(
                audio.name,
                "not finite",
                f"{audio.name} has NaN or infinite samples, first at {place:.3f} s: export it "
                "again.",
            )
        count += len(mono)
        lowest, highest = min(lowest, float(mono.min())), max(highest, float(mono.max()))
        if max(-lowest, highest) > HIGHEST_SAMPLE:
            check_range(SampleRange(count, True, lowest, highest), audio.rate, audio.name, 0.0)
        if audio.channels > 1:
            channels_sound = channels_sound or not is_silent(torch.from_numpy(block))
        yield mono
    if not count:
        lowest = highest = 0.0
    found = SampleRange(count, True, lowest, highest)
    check_range(found, audio.rate, audio.name, MINIMUM_SECONDS, channels_sound and found.silent)


def _resampled(blocks: Iterator[np.ndarray[Any, Any]], rate: int) -> Iterator[Tensor]:
    """Mono blocks at `rate` as pieces of 10 to 20 s at 16 kHz.

    The converter turns every `orig_freq` samples into `new_freq`, and looks `width` samples to both
    sides. So a piece is converted together with its surroundings, which are cut off again, and
    comes out as it would of the whole file. Surroundings and pieces are multiples of 64 blocks, and
    the last piece is not a short one: else the convolution adds up in another order there, and the
    last bit differs.
    """
    if rate == SAMPLE_RATE:
        for held, _, _ in _overlapping(blocks, round(_PIECE_SECONDS * rate), 0):
            yield held
        return
    convert: Any = resampler(rate)
    old, new = convert.orig_freq // convert.gcd, convert.new_freq // convert.gcd
    around = _ALIGNMENT * -(-convert.width // (old * _ALIGNMENT))
    size = _ALIGNMENT * max(1, round(_PIECE_SECONDS * rate / (old * _ALIGNMENT)))
    for held, before, last in _overlapping(blocks, size * old, around * old):
        converted = convert(held)
        first = before // old * new
        yield converted[first:] if last else converted[first : first + size * new]


def _overlapping(
    blocks: Iterator[np.ndarray[Any, Any]], size: int, around: int
) -> Iterator[tuple[Tensor, int, bool]]:
    """Join blocks to pieces of `size` samples, each with `around` samples of its neighbours.

    Yields:
        Samples ``[S]``, how many of the piece before they begin with, and whether they are the
        last: those run to the end, and hold one to two pieces where there is so much.
    """
    held, before = np.empty(0, dtype=np.float32), 0
    waiting: list[np.ndarray[Any, Any]] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count < before + 2 * size + around:
            continue
        held = np.concatenate([held, *waiting])
        waiting.clear()
        while len(held) >= before + 2 * size + around:
            yield torch.from_numpy(held[: before + size + around]), before, False
            held, before = held[before + size - around :], around
        count = len(held)
    held = np.concatenate([held, *waiting])
    if len(held) > before:
        yield torch.from_numpy(held), before, True
