# SPDX-License-Identifier: Apache-2.0
"""A small source-filter synthesiser: control tracks in, speech-like samples out.

The voice source is the KLGLOTT88 glottal pulse (Klatt and Klatt 1990, *Analysis, synthesis, and
perception of voice quality variations among female and male talkers*) with jitter, shimmer and
breath noise. The vocal tract is a cascade of digital resonators (Klatt 1980, *Software for a
cascade/parallel formant synthesizer*), applied frame by frame in the frequency domain. It makes
the demo corpus; it is not meant to be intelligible.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

SAMPLE_RATE = 16_000
TRACK_RATE = 100
"""Control values per second; also the rate at which the vocal tract's filter changes."""

HOP = SAMPLE_RATE // TRACK_RATE
FFT_SIZE = 1024  # 64 ms: a frame of 20 ms and 44 ms for the resonances to ring out
# The pulse has a corner at glottal closure; at twice the rate its aliases stay under 8 kHz's own
# level. The filter below keeps the lower half of the spectrum, which brings the rate back.
OVERSAMPLING = 2
FORMANT_BANDWIDTHS = (70.0, 90.0, 140.0, 200.0)  # Hz
# The tract's higher resonances hardly move in speech, so one set (for a tract of scale 1) will do.
UPPER_FORMANTS = (4500.0, 5500.0, 6500.0, 7500.0)
UPPER_BANDWIDTH = 300.0
# A resonator nearer to 8 kHz would meet its own mirror image there and drown all else.
HIGHEST_FORMANT = 7600.0
TILT_CORNER = 500.0  # Hz, below which spectral tilt leaves the spectrum as it is


@dataclass(frozen=True)
class SpeechTracks:
    """What the synthesiser is told, `T` frames at `TRACK_RATE`.

    Attributes:
        f0: Fundamental frequency in Hz, `[T]`; defined in unvoiced frames too.
        voicing: Amplitude of the voice source, `[T]`, 0 where unvoiced.
        frication: Amplitude of the consonants' noise, `[T]`.
        frication_center: Centre of that noise in Hz, `[T]`.
        formants: Frequencies of the four lowest formants in Hz, `[T, 4]`.
        tract_scale: All higher formants are multiplied by it (1 = a long, adult male tract).
        open_quotient: Share of a period in which the glottis is open: tense 0.4, breathy 0.8.
        tilt: Further fall of the source's spectrum above 500 Hz, in dB per octave.
        jitter: Standard deviation of the periods' lengths, as a share.
        shimmer: Standard deviation of the periods' amplitudes, as a share.
        breath: Amplitude of the noise that comes with the open glottis, as a share of the pulse.
    """

    f0: FloatArray
    voicing: FloatArray
    frication: FloatArray
    frication_center: FloatArray
    formants: FloatArray
    tract_scale: float
    open_quotient: float
    tilt: float
    jitter: float
    shimmer: float
    breath: float

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.f0) / TRACK_RATE

    @property
    def mean_f0(self) -> float:
        """Mean fundamental frequency over the voiced frames, in Hz."""
        return float(self.f0[self.voicing > 0.05].mean())


def glottal_source(tracks: SpeechTracks, rng: np.random.Generator) -> FloatArray:
    """Make the glottal flow's derivative with its breath noise.

    Args:
        tracks: The control tracks.
        rng: Draws jitter, shimmer and breath.

    Returns:
        Samples `[S * OVERSAMPLING]` at `SAMPLE_RATE * OVERSAMPLING`.
    """
    rate = SAMPLE_RATE * OVERSAMPLING
    frames = len(tracks.f0)
    position = np.arange(frames * rate // TRACK_RATE) * (TRACK_RATE / rate)
    f0 = np.interp(position, np.arange(frames), tracks.f0)
    periods = np.floor(np.cumsum(f0) / rate).astype(np.int64)
    count = periods[-1] + 2
    lengths = 1.0 + tracks.jitter * np.clip(rng.standard_normal(count), -3, 3)
    amplitudes = 1.0 + tracks.shimmer * np.clip(rng.standard_normal(count), -3, 3)

    phase = np.cumsum(f0 * lengths[periods]) / rate
    periods = np.minimum(np.floor(phase).astype(np.int64), count - 1)
    opening = (phase - np.floor(phase)) / tracks.open_quotient  # 0..1 while the glottis is open
    is_open = opening < 1.0
    # KLGLOTT88: flow = t² - t³ over the open phase, so its derivative is 2t - 3t².
    pulse = np.where(is_open, 2.0 * opening - 3.0 * opening**2, 0.0) * amplitudes[periods]
    noise = rng.standard_normal(len(position)) * np.where(is_open, 1.0, 0.3)
    voicing = np.interp(position, np.arange(frames), tracks.voicing)
    return voicing * (pulse + tracks.breath * noise)


def resonances(
    frequencies: FloatArray, centers: FloatArray, bandwidths: FloatArray
) -> ComplexArray:
    """Evaluate a cascade of digital resonators, each of gain 1 at 0 Hz.

    Args:
        frequencies: Where to evaluate, in Hz, `[N]`.
        centers: The resonances in Hz, `[..., R]`.
        bandwidths: Their -3 dB widths in Hz, broadcast against `centers`.

    Returns:
        The complex response, `[..., N]`.
    """
    z = np.exp(-2j * np.pi * frequencies / SAMPLE_RATE)
    radius = np.exp(-np.pi * bandwidths / SAMPLE_RATE)
    first = -2.0 * radius * np.cos(2.0 * np.pi * centers / SAMPLE_RATE)
    second = np.broadcast_to(radius**2, first.shape)
    poles = np.ones((*first.shape[:-1], len(z)), dtype=np.complex128)
    for index in range(first.shape[-1]):
        poles *= 1.0 + z * (first[..., index, None] + z * second[..., index, None])
    gain = np.prod(1.0 + first + second, axis=-1)
    return gain[..., None] / poles


def framewise_spectra(samples: FloatArray, frames: int, oversampling: int = 1) -> ComplexArray:
    """Cut samples into Hann frames that add up to one, and transform them.

    Args:
        samples: `[frames * HOP * oversampling]`.
        frames: The number of frames T.
        oversampling: How many times `SAMPLE_RATE` the samples' own rate is; the spectrum above
            8 kHz is dropped.

    Returns:
        Complex spectra `[T, FFT_SIZE // 2 + 1]`, frame t centred on its own track value.
    """
    hop = HOP * oversampling
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)
    padded = np.pad(samples, (hop, hop))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop][:frames]
    spectra = np.fft.rfft(pieces * window, FFT_SIZE * oversampling, axis=-1)
    return spectra[:, : FFT_SIZE // 2 + 1] / oversampling


def overlap_add(spectra: ComplexArray) -> FloatArray:
    """Turn filtered spectra `[T, FFT_SIZE // 2 + 1]` back into samples `[T * HOP]`."""
    pieces = np.fft.irfft(spectra, FFT_SIZE, axis=-1)
    frames = len(pieces)
    blocks = -(-FFT_SIZE // HOP)
    pieces = np.pad(pieces, ((0, 0), (0, blocks * HOP - FFT_SIZE))).reshape(frames, blocks, HOP)
    output = np.zeros((frames + blocks, HOP))
    for block in range(blocks):
        output[block : block + frames] += pieces[:, block]
    return output[1 : frames + 1].reshape(-1)  # frame 0 begins one hop before the first sample


def synthesise(tracks: SpeechTracks, rng: np.random.Generator) -> FloatArray:
    """Synthesise one utterance.

    Args:
        tracks: The control tracks, T frames.
        rng: The only source of randomness; the same state gives the same samples.

    Returns:
        Samples `[T * HOP]` at 16 kHz, of no particular level.
    """
    frames = len(tracks.f0)
    frequencies = np.arange(FFT_SIZE // 2 + 1, dtype=np.float64) * (SAMPLE_RATE / FFT_SIZE)
    upper = np.array(UPPER_FORMANTS) * tracks.tract_scale
    upper = upper[upper < HIGHEST_FORMANT]
    octaves = np.log2(np.maximum(frequencies, TILT_CORNER) / TILT_CORNER)
    fixed = resonances(frequencies, upper, np.full(len(upper), UPPER_BANDWIDTH))  # [N]
    fixed = fixed * 10.0 ** (-tracks.tilt * octaves / 20.0)
    moving = resonances(frequencies, tracks.formants, np.array(FORMANT_BANDWIDTHS))  # [T, N]
    source = framewise_spectra(glottal_source(tracks, rng), frames, OVERSAMPLING)
    voice = source * moving * fixed

    distance = (frequencies - tracks.frication_center[:, None]) / 1500.0
    coloured = np.exp(-0.5 * distance**2) * tracks.frication[:, None]  # [T, N]
    noise = framewise_spectra(rng.standard_normal(frames * HOP), frames) * coloured
    return overlap_add(voice + noise)
