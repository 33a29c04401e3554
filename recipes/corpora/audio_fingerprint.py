# SPDX-License-Identifier: Apache-2.0
"""A short description of a clip by which its copies are found: louder, coded, at another rate."""

from typing import Any

import numpy as np

from voxadapt.backbones.audio import read_audio
from voxadapt.recipes.corpora.clip import Clip

_FRAME_SECONDS = 0.032
_SLICES = 32  # parts of the clip
_BAND_EDGES = (100, 300, 550, 850, 1_250, 1_750, 2_400, 3_200, 3_900)  # Hz
_FLOOR = 1e-5  # of the strongest: 50 dB below it, coders and dither have their say
_MOST_SHIFT_SECONDS = 0.15  # what coders put before a signal
_FRAMES_AT_ONCE = 4_096


class Fingerprinter:
    """Takes samples block by block and describes them by their energy in 32 parts and 8 bands.

    Energies are logarithmic and centred, so that the volume plays no part; bands are in Hz, so that
    the rate does not; all are below 3.9 kHz, which every coder keeps.

    Args:
        rate: Samples per second (Hz).
    """

    def __init__(self, rate: int) -> None:
        self._size = max(16, round(rate * _FRAME_SECONDS))
        self._window = np.hanning(self._size).astype(np.float32)
        frequencies = np.fft.rfftfreq(self._size, 1 / rate)
        self._edges = np.searchsorted(frequencies, _BAND_EDGES)
        self._rest = np.zeros(0, np.float32)
        self._bands: list[np.ndarray[Any, Any]] = []

    def add(self, samples: np.ndarray[Any, Any]) -> None:
        """Take in samples `[S]`."""
        joined = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        count = len(joined) // self._size
        for first in range(0, count, _FRAMES_AT_ONCE):
            last = min(count, first + _FRAMES_AT_ONCE)
            frames = joined[first * self._size : last * self._size].reshape(-1, self._size)
            self._bands.append(self._band_energies(frames))
        self._rest = joined[count * self._size :].copy()

    def vector(self) -> np.ndarray[Any, Any]:
        """Return the description: `[256]` float16, centred and of length 1."""
        if not self._bands:
            padded = np.zeros(self._size, np.float32)
            padded[: len(self._rest)] = self._rest
            self._bands.append(self._band_energies(padded[None]))
        energies = np.concatenate(self._bands)  # [T, 8]
        places = np.linspace(0, len(energies), _SLICES + 1)
        if len(energies) >= _SLICES:
            parts = np.add.reduceat(energies, places[:-1].astype(int), axis=0)
            parts /= np.diff(np.append(places[:-1].astype(int), len(energies)))[:, None]
        else:
            parts = energies[places[:-1].astype(int)]
        logs = np.log(parts + _FLOOR * parts.max() + 1e-30)
        logs -= logs.mean()
        return (logs / max(1e-9, float(np.linalg.norm(logs)))).astype(np.float16).ravel()

    def _band_energies(self, frames: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        centred = frames - frames.mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(centred * self._window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        bands = [
            power[:, low:high].sum(axis=1) / max(1, high - low)
            for low, high in zip(self._edges[:-1], self._edges[1:], strict=True)
        ]
        return np.stack(bands, axis=1)  # [T, 8]


def centred_samples(clip: Clip) -> np.ndarray[Any, Any]:
    """Decode a clip to samples `[S]` at 16 kHz whose mean is 0.

    Raises:
        AudioError: It cannot be used.
    """
    samples = read_audio(clip.audio, start=clip.start, end=clip.end)
    return (samples - samples.mean()).numpy()


def correlate(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return how much of two clips is the same signal: 1 for copies, whatever their volume.

    Args:
        one: Samples `[S]` from `centred_samples`.
        other: The other clip's.

    Returns:
        The highest magnitude of their normalised cross-correlation at a shift of up to 0.15 s.
    """
    size = 1 << (len(one) + len(other) - 1).bit_length()
    product = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    correlation = np.abs(np.fft.irfft(product, size))
    shift = round(16_000 * _MOST_SHIFT_SECONDS)
    peak = max(correlation[: shift + 1].max(), correlation[-shift:].max())
    return float(peak / max(1e-12, float(np.linalg.norm(one) * np.linalg.norm(other))))
