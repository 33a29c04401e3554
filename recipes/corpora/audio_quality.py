# SPDX-License-Identifier: Apache-2.0
"""What is measured of one clip's audio: level, clipping, offset, a hash and a fingerprint."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from voxadapt.backbones.audio_checks import (
    HIGHEST_SAMPLE,
    AudioError,
    SampleRange,
    check_range,
    check_rate,
)
from voxadapt.backbones.audio_file import AudioFile, open_audio
from voxadapt.recipes.corpora.audio_fingerprint import Fingerprinter
from voxadapt.recipes.corpora.clip import Clip

MINIMUM_SECONDS = 0.01
"""As `read_audio` has it: a shorter clip cannot be used."""

_STEP = 1 / 32_768  # of 16-bit audio
# A wave that was cut flat and then made quieter: three and more samples in a row at its peak,
# several times, and a third of all that come near it.
_PLATEAU = 3
_FEWEST_CUT = 16
_CUT_SHARE = 1 / 3
_LOWEST_CUT = 0.1


@dataclass
class AudioQuality:
    """What was measured of a clip; what could not be measured is 0 or empty.

    Attributes:
        problem: Reason, message and advice where the clip cannot be used; else None.
        seconds: Its length.
        rate: Samples per second (Hz), by the header.
        implied_rate: The rate that the header's other fields imply (Hz); 0 where they do not.
        channels: How many the file has.
        container: What holds the samples: `WAV`, `FLAC`, `OGG`, `MP3`, ...
        encoding: How they are stored: `PCM_16`, `VORBIS`, ...
        peak: The highest magnitude of the mean of the channels (full scale is 1).
        level: Root of the mean square without the offset, in dB of full scale.
        offset: The mean (full scale is 1).
        clipped: Share of the samples that were cut off: those at full scale, or flat tops at the
            clip's own peak.
        digest: A hash of the decoded samples, rounded to 16 bits; of equal audio it is equal,
            whatever lossless format holds it, and whatever rate the header tells.
        fingerprint: See `audio_fingerprint`.
    """

    problem: tuple[str, str, str] | None = None
    seconds: float = 0.0
    rate: int = 0
    implied_rate: float = 0.0
    channels: int = 0
    container: str = ""
    encoding: str = ""
    peak: float = 0.0
    level: float = -math.inf
    offset: float = 0.0
    clipped: float = 0.0
    digest: str = ""
    fingerprint: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, np.float16))


def measure_clip(clip: Clip) -> AudioQuality:
    """Decode a clip block by block and measure it; never raises for what a file may hold."""
    quality = AudioQuality()
    try:
        with open_audio(clip.audio) as audio:
            quality.rate, quality.channels = audio.rate, audio.channels
            quality.container, quality.encoding = audio.container, audio.encoding
            quality.implied_rate = audio.header.implied_rate or 0.0
            check_rate(audio.name, audio.rate)
            _measure(quality, audio, clip)
    except AudioError as error:
        # The message begins with the file's name, which the report tells already.
        told = str(error).removeprefix(f"{error.path} ").removesuffix(".")
        message, _, advice = told.rpartition(": ")
        quality.problem = (error.reason, message, advice)
    return quality


def _measure(quality: AudioQuality, audio: AudioFile, clip: Clip) -> None:
    totals = _Totals(audio.rate)
    try:
        for block in audio.blocks(clip.start, clip.end):
            totals.add(block)
    finally:  # of a file that was cut off, what there is of it is told as well
        totals.tell(quality)
    check_range(totals.range(), audio.rate, audio.name, MINIMUM_SECONDS, totals.cancels())
    quality.digest = totals.digest.hexdigest()
    quality.fingerprint = totals.fingerprint.vector()


class _Totals:
    """Sums over the blocks of a clip, so that hours of audio need no more memory than seconds."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.count = 0
        self.finite = True
        self.lowest, self.highest = math.inf, -math.inf
        self.sum = self.squares = 0.0
        self.full_scale = 0
        self.plateaus: list[tuple[float, int]] = []
        self.channels_sound = False
        self.digest = blake2b(digest_size=16)
        self.fingerprint = Fingerprinter(rate)

    def add(self, block: np.ndarray[Any, Any]) -> None:
        """Take in samples `[S, channels]`."""
        self.count += len(block)
        self.finite &= bool(np.isfinite(block).all())
        if not self.finite:
            return
        if block.shape[1] > 1:
            self.channels_sound |= bool(np.ptp(block, axis=0).max() > _STEP)
            wide = block.mean(axis=1, dtype=np.float64)
            samples = wide.astype(np.float32)  # [S]
        else:
            samples = block[:, 0]
            wide = samples.astype(np.float64)
        lowest, highest = float(samples.min()), float(samples.max())
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        if max(self.highest, -self.lowest) > HIGHEST_SAMPLE:
            return
        self.sum += float(wide.sum())
        self.squares += float(wide @ wide)
        self._count_clipped(samples, lowest, highest)
        rounded = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2")
        self.digest.update(rounded.tobytes())
        self.fingerprint.add(samples)

    def _count_clipped(self, samples: np.ndarray[Any, Any], lowest: float, highest: float) -> None:
        if max(highest, -lowest) >= 1 - _STEP:
            full = (samples >= 1 - _STEP) | (samples <= _STEP - 1)
            self.full_scale += int(full.sum())
        for edge, beyond in ((highest, samples), (-lowest, -samples)):
            # At full scale these are counted already; with few steps, flat tops are natural.
            if _LOWEST_CUT <= edge < 1 - _STEP:
                flat = sum(_runs(beyond >= edge - 1.5 * _STEP))
                if flat >= _FEWEST_CUT and flat > _CUT_SHARE * np.count_nonzero(
                    beyond > 0.8 * edge
                ):
                    self.plateaus.append((edge, flat))

    def tell(self, quality: AudioQuality) -> None:
        """Write the sums down."""
        quality.seconds = self.count / self.rate
        if not self.count or not self.finite:
            return
        mean = self.sum / self.count
        power = max(0.0, self.squares / self.count - mean * mean)
        quality.peak = max(self.highest, -self.lowest)
        quality.level = 10 * math.log10(power) if power > 0 else -math.inf
        quality.offset = mean
        # A flat top lower than another block's is none of the clip's.
        cut = sum(
            count
            for edge, count in self.plateaus
            if edge >= min(self.highest, -self.lowest) - _STEP
        )
        quality.clipped = (self.full_scale + cut) / self.count

    def range(self) -> SampleRange:
        """What decides whether the clip can be used."""
        return SampleRange(self.count, self.finite, self.lowest, self.highest)

    def cancels(self) -> bool:
        """Whether there was sound in the channels and none is in their mean."""
        return self.channels_sound and self.range().silent


def _runs(marked: np.ndarray[Any, Any]) -> Iterator[int]:
    """Yield the length of each run of at least `_PLATEAU` marked samples."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]])))
    for length in (edges[1::2] - edges[::2]).tolist():
        if length >= _PLATEAU:
            yield length
