# SPDX-License-Identifier: Apache-2.0
"""Speed, noise and gain on the waveform, before the frozen encoder sees it."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from voxadapt.backbones.audio import SAMPLE_RATE

# Speeds are whole percents: each has a resampling kernel of its own, which is computed once.
_PERCENT = 100
_SLOWEST, _FASTEST = 0.5, 2.0
# Exponents of the noise's power spectrum, 1 / f^exponent: from white (0) over pink (1) to brown.
_BROWNEST = 2.0
# Hz; below it noise has no power. Else most of the power of brown noise would lie where neither
# ears nor encoders hear it, and the ratio would not mean what it says.
_LOWEST_FREQUENCY = 20.0
# Mean square of half a step of 16-bit audio: quieter "noise" is silence and is not scaled up.
_SILENT_POWER = (0.5 / 32_768) ** 2


@dataclass(frozen=True)
class WaveformAugmentation:
    """Changes to the audio before the encoder; only with `--features online`, none by default.

    Each is drawn for a clip from (seed, epoch, clip id). Noise and gain are on the student's audio
    alone: it learns to give from disturbed audio what the teacher gives from clean audio. A speed
    is on both, since their frames must lie side by side.

    Args:
        speed: Slowest and fastest playback, such as [0.9, 1.1]; changes tempo and pitch together,
            as a tape does (Ko et al., Audio Augmentation for Speech Recognition, Interspeech 2015).
            Empty: off.
        gain_db: Least and most gain (dB), such as [-10, 10]. Encoders that normalise each clip do
            not hear it. Empty: off.
        noise_snr_db: Least and most signal-to-noise ratio (dB) of added noise, such as [5, 20].
            Empty: off.
        noise_probability: Share of the clips that get noise, where it is on.
        babble_share: Share of the noisy clips whose noise is another clip of the corpus (as in
            WavLM, arXiv 2110.13900); the others get noise between white, pink and brown.

    Raises:
        ValueError: A range is not two rising numbers, or a value is out of range.
    """

    speed: list[float] = field(default_factory=list)
    gain_db: list[float] = field(default_factory=list)
    noise_snr_db: list[float] = field(default_factory=list)
    noise_probability: float = 0.5
    babble_share: float = 0.5

    def __post_init__(self) -> None:
        limits = {
            "speed": (_SLOWEST, _FASTEST),
            "gain_db": (-60.0, 60.0),
            "noise_snr_db": (-30.0, 60.0),
        }
        for name, (least, most) in limits.items():
            found = getattr(self, name)
            if found and not (len(found) == 2 and least <= found[0] <= found[1] <= most):
                raise ValueError(
                    f"augment.{name}: found {found}, must be [least, most] with both between "
                    f"{least:g} and {most:g}, or [] for none"
                )
        for name in ("noise_probability", "babble_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"augment.{name}: found {getattr(self, name)}, must be 0 to 1")

    @property
    def is_on(self) -> bool:
        """Whether any clip can come out changed."""
        noise = bool(self.noise_snr_db) and self.noise_probability > 0
        return bool(self.speed or self.gain_db) or noise


class Draw(NamedTuple):
    """What happens to one clip.

    Attributes:
        speed: Playback speed in percent; 100 leaves it.
        gain_db: Gain (dB).
        snr_db: Signal-to-noise ratio (dB); None adds no noise.
        babbles: Whether the noise is another clip.
        exponent: Of the noise's power spectrum, where it is none.
    """

    speed: int
    gain_db: float
    snr_db: float | None
    babbles: bool
    exponent: float


def draw(settings: WaveformAugmentation, random: np.random.Generator) -> Draw:
    """Draw what happens to a clip; the same numbers are used up whatever is on."""
    speed, gain, snr, noise, babble, colour = random.uniform(size=6).tolist()
    noisy = bool(settings.noise_snr_db) and noise < settings.noise_probability
    return Draw(
        speed=round(_PERCENT * _between(settings.speed, speed)) if settings.speed else _PERCENT,
        gain_db=_between(settings.gain_db, gain) if settings.gain_db else 0.0,
        snr_db=_between(settings.noise_snr_db, snr) if noisy else None,
        babbles=babble < settings.babble_share,
        exponent=_BROWNEST * colour,
    )


def augment(
    waveform: Tensor,
    settings: WaveformAugmentation,
    random: np.random.Generator,
    other_clip: Callable[[], Tensor | None],
) -> tuple[Tensor, Tensor]:
    """Change a clip for the teacher and for the student.

    Args:
        waveform: ``[S]`` float32, mono at 16 kHz.
        settings: What is on.
        random: The clip's own generator; nothing else is random.
        other_clip: Gives another clip ``[S']`` for babble, drawn from the same generator, or None
            where there is no other.

    Returns:
        The teacher's waveform and the student's, ``[S / speed]`` both, and one object where they
        are the same.
    """
    drawn = draw(settings, random)
    teacher = student = change_speed(waveform, drawn.speed)
    if drawn.snr_db is not None:
        other = other_clip() if drawn.babbles else None
        noise = (
            coloured_noise(len(student), drawn.exponent, random)
            if other is None
            else cut_or_repeat(other, len(student), int(random.integers(len(other))))
        )
        student = add_noise(student, noise, drawn.snr_db)
    if drawn.gain_db:
        student = student * 10.0 ** (drawn.gain_db / 20.0)
    return teacher, student


def change_speed(waveform: Tensor, percent: int) -> Tensor:
    """Play a waveform ``[S]`` at another speed: ``[100 S / percent]``, pitch changed as well."""
    return waveform if percent == _PERCENT else _resampler(percent)(waveform)


@functools.lru_cache(maxsize=256)
def _resampler(percent: int) -> Callable[[Tensor], Tensor]:
    # Imported here, as in `backbones.audio`: it fails to import beside some torch.
    import torchaudio

    shared = math.gcd(percent, _PERCENT)
    resample: Any = torchaudio.transforms.Resample(percent // shared, _PERCENT // shared)
    return resample


def add_noise(waveform: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """Add noise at a ratio of powers over the whole clip.

    Args:
        waveform: ``[S]`` float32.
        noise: ``[S]`` float32, of any level.
        snr_db: Power of the waveform over that of the noise (dB), offsets left out of both.

    Returns:
        ``[S]`` float32; the waveform itself where the noise is silent.
    """
    noise = noise - noise.mean()
    signal_power = float(waveform.double().var(correction=0))
    noise_power = float(noise.double().square().mean())
    if noise_power < _SILENT_POWER:
        return waveform
    return waveform + noise * math.sqrt(signal_power / noise_power / 10.0 ** (snr_db / 10.0))


def coloured_noise(samples: int, exponent: float, random: np.random.Generator) -> Tensor:
    """Noise ``[S]`` float32 whose power falls as ``1 / f^exponent`` from 20 Hz up; 0 is white."""
    size = max(2_048, 1 << (samples - 1).bit_length())  # a power of two is quick to transform
    spectrum = np.fft.rfft(random.standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    heard = frequencies >= _LOWEST_FREQUENCY
    spectrum[~heard] = 0.0
    spectrum[heard] *= (frequencies[heard] / 1_000.0) ** (-exponent / 2.0)
    return torch.from_numpy(np.fft.irfft(spectrum, size)[:samples].astype(np.float32))


def cut_or_repeat(waveform: Tensor, samples: int, first: int) -> Tensor:
    """``[samples]`` of a waveform from its sample ``first`` on, from its start again at its end."""
    repeats = math.ceil((first + samples) / len(waveform))
    return waveform.repeat(repeats)[first : first + samples]


def _between(ends: list[float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share
