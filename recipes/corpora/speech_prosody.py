# SPDX-License-Identifier: Apache-2.0
"""From a way of speaking to control tracks: syllables, their timing, pitch, loudness and formants.

Every utterance is a row of made-up consonant-vowel syllables. What is said (the syllables) is
random; how it is said is a `Prosody`, and who says it is a `Voice`.
"""

from dataclasses import dataclass

import numpy as np

from voxadapt.recipes.corpora.speech_synthesis import TRACK_RATE, FloatArray, SpeechTracks

# Mean formants of men's vowels in Hz, after Peterson and Barney (1952); F4 is a usual value.
VOWELS = np.array(
    [
        (270, 2290, 3010, 3600),  # beet
        (390, 1990, 2550, 3600),  # bit
        (530, 1840, 2480, 3500),  # bet
        (660, 1720, 2410, 3500),  # bat
        (730, 1090, 2440, 3400),  # father
        (570, 840, 2410, 3400),  # bought
        (440, 1020, 2240, 3400),  # book
        (300, 870, 2240, 3400),  # boot
        (640, 1190, 2390, 3400),  # but
    ],
    dtype=np.float64,
)

# A consonant: (voicing, frication, centre of the noise in Hz, F1 and F2 it moves the tract to).
CONSONANTS = np.array(
    [
        (0.00, 0.45, 5500, 350, 1700),  # as in see
        (0.00, 0.40, 3200, 350, 1800),  # as in she
        (0.00, 0.12, 4500, 350, 1000),  # as in fee
        (0.15, 0.20, 5200, 300, 1700),  # as in zoo
        (0.00, 0.00, 3800, 300, 1800),  # as in tea: silence, then a burst
        (0.00, 0.00, 2000, 300, 2000),  # as in key
        (0.25, 0.00, 0, 250, 1100),  # as in me
        (0.25, 0.00, 0, 250, 1700),  # as in knee
        (0.45, 0.00, 0, 350, 1100),  # as in lee
        (0.45, 0.00, 0, 300, 750),  # as in we
    ]
)
STOPS = (4, 5)
BURST = 0.5
# Accents of about 1 and of about this take turns, so that every syllable carries some movement.
UNACCENTED = 0.4
MEAN_ACCENT = (1.0 + UNACCENTED) / 2
TREMOR_RATE = 5.5  # Hz
LOWEST_F0, HIGHEST_F0 = 55.0, 480.0  # Hz


@dataclass(frozen=True)
class Voice:
    """Who speaks.

    Attributes:
        f0: Usual pitch in Hz.
        tract_scale: Factor on all formants (1 = a long, adult male tract; 1.18 = a female one).
        tilt: Spectral tilt of the voice and its recording, in dB per octave.
        gain: Recording level relative to the other speakers', in dB.
    """

    f0: float
    tract_scale: float
    tilt: float
    gain: float


@dataclass(frozen=True)
class Prosody:
    """How it is said.

    Attributes:
        level: Loudness relative to the speaker's usual one, in dB.
        pitch: Pitch relative to the speaker's usual one, in semitones.
        accent: Height of the pitch accents, in semitones.
        peak: Where in an accented syllable the pitch peaks: 0 early and falling, 1 late and rising.
        declination: Slope of the pitch over the utterance, in semitones per second.
        ending: Pitch movement over the last 0.3 seconds, in semitones.
        rate: Syllables per second.
        contrast: Loudness of accented over unaccented syllables, in dB.
        attack: Share of the vowel that passes until it is at its loudest.
        legato: Loudness at a vowel's edges, as a share of its peak: 0 staccato, 1 all tied.
        tremor: Depth of a 5.5 Hz tremor of the pitch, in semitones.
        open_quotient: As in `SpeechTracks`.
        tilt: Spectral tilt that comes to the speaker's own, in dB per octave.
        jitter: As in `SpeechTracks`.
        shimmer: As in `SpeechTracks`.
        breath: As in `SpeechTracks`.
    """

    level: float
    pitch: float
    accent: float
    peak: float
    declination: float
    ending: float
    rate: float
    contrast: float
    attack: float
    legato: float
    tremor: float
    open_quotient: float
    tilt: float
    jitter: float
    shimmer: float
    breath: float


def smooth(track: FloatArray, seconds: float) -> FloatArray:
    """Smooth a track `[T, ...]` along time with a Hann window of the given length."""
    width = max(3, round(seconds * TRACK_RATE) | 1)
    window = np.hanning(width + 2)[1:-1]
    window /= window.sum()
    edges = [(width // 2, width // 2)] + [(0, 0)] * (track.ndim - 1)
    padded = np.pad(track, edges, mode="edge")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    return pieces @ window


def draw_syllables(
    prosody: Prosody, seconds: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw when the syllables begin and how strongly each is accented.

    Returns:
        The syllables' edges in seconds, `[N + 1]`, from 0 to `seconds`; and the strengths
        of their accents, `[N]`, in turn about 1 and about `UNACCENTED`.
    """
    count = max(2, round(prosody.rate * seconds))
    strong = (np.arange(count) + rng.integers(2)) % 2 == 0
    strengths = rng.uniform(0.8, 1.2, count) * np.where(strong, 1.0, UNACCENTED)
    lengths = rng.uniform(0.75, 1.25, count) * np.where(strong, 1.2, 1.0)
    lengths[-1] *= 1.3  # phrase-final lengthening
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    return edges * (seconds / edges[-1]), strengths


def pitch_contour(
    voice: Voice, prosody: Prosody, edges: FloatArray, accents: FloatArray, times: FloatArray
) -> FloatArray:
    """Lay the pitch accents, the declination and the final movement over the syllables.

    Returns:
        Fundamental frequency in Hz at `times`, `[T]`.
    """
    end = edges[-1]
    semitones = prosody.pitch + prosody.declination * (times - end / 2)
    for start, stop, strength in zip(edges[:-1], edges[1:], accents, strict=True):
        length = stop - start
        summit = start + (0.25 + 0.7 * prosody.peak) * length
        foot, tail = start - 0.1 * length, stop + 0.25 * length
        shape = np.interp(times, [foot, summit, tail], [0.0, 1.0, 0.0])
        semitones = semitones + prosody.accent * strength * shape
    semitones = semitones + prosody.tremor * np.sin(2.0 * np.pi * TREMOR_RATE * times)
    semitones = semitones + prosody.ending * np.clip((times - end + 0.3) / 0.3, 0.0, 1.0)
    return np.clip(voice.f0 * 2.0 ** (smooth(semitones, 0.05) / 12.0), LOWEST_F0, HIGHEST_F0)


def draw_segments(
    prosody: Prosody,
    edges: FloatArray,
    accents: FloatArray,
    times: FloatArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Fill each syllable with a consonant and a vowel, at most 90 ms of it with the consonant.

    Returns:
        `voicing`, `frication`, `frication_center` and `formants` as in `SpeechTracks`, with steps
        where the sounds meet.
    """
    count = len(accents)
    # In turn from a random order: short clips then differ less by chance in their mean spectrum.
    vowels = VOWELS[np.resize(rng.permutation(len(VOWELS)), count)]
    vowels = vowels * rng.uniform(0.95, 1.05, vowels.shape)
    consonants = np.resize(rng.permutation(len(CONSONANTS)), count)
    voicing, frication, center = np.zeros((3, len(times)))
    formants = np.empty((len(times), 4))
    for start, stop, accent, consonant, vowel in zip(
        edges[:-1], edges[1:], accents, consonants, vowels, strict=True
    ):
        onset = start + min(0.3 * (stop - start), 0.09)
        first, middle, last = np.searchsorted(times, (start, onset, stop))
        voiced, noise, noise_center, f1, f2 = CONSONANTS[consonant]
        loudness = 10.0 ** (prosody.contrast * (accent - MEAN_ACCENT) / 20.0)

        voicing[first:middle], frication[first:middle] = voiced * loudness, noise * loudness
        center[first:last] = noise_center
        if consonant in STOPS:
            frication[middle - 1] = BURST * loudness
        progress = (times[middle:last] - onset) / (stop - onset)
        envelope = [prosody.legato, 1.0, prosody.legato]
        voicing[middle:last] = loudness * np.interp(progress, [0.0, prosody.attack, 1.0], envelope)
        formants[first:middle] = (f1, f2, *vowel[2:])
        formants[middle:last] = vowel
    return voicing, frication, center, formants


def draw_tracks(
    voice: Voice, prosody: Prosody, seconds: float, rng: np.random.Generator
) -> SpeechTracks:
    """Draw one utterance of a voice in a way of speaking.

    Args:
        voice: Who speaks.
        prosody: How.
        seconds: Duration; rounded to a whole track frame.
        rng: Draws the syllables.

    Returns:
        The control tracks.
    """
    frames = round(seconds * TRACK_RATE)
    times = (np.arange(frames) + 0.5) / TRACK_RATE
    edges, accents = draw_syllables(prosody, frames / TRACK_RATE, rng)
    voicing, frication, center, formants = draw_segments(prosody, edges, accents, times, rng)
    fade = np.clip(np.minimum(times, times[-1] - times) / 0.04, 0.0, 1.0)
    return SpeechTracks(
        f0=pitch_contour(voice, prosody, edges, accents, times),
        voicing=smooth(voicing, 0.03) * fade,
        frication=smooth(frication, 0.02) * fade,
        frication_center=center,
        formants=smooth(formants, 0.07) * voice.tract_scale,
        tract_scale=voice.tract_scale,
        open_quotient=prosody.open_quotient,
        tilt=voice.tilt + prosody.tilt,
        jitter=prosody.jitter,
        shimmer=prosody.shimmer,
        breath=prosody.breath,
    )
