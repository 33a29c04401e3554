# SPDX-License-Identifier: Apache-2.0
"""The speakers and emotions of the demo corpus, and the drawing of its clips.

The emotions differ in pitch range and contour, rate, loudness and its dynamics, voice quality and
spectral tilt; the speakers in pitch, formants, tilt and recording level. Pitch and level also vary
from clip to clip, so that neither mean alone tells the emotions apart. The figures are set by ear
and eye after what is known of emotional speech (Scherer 2003, *Vocal communication of emotion*);
they were not fitted to any corpus.
"""

from dataclasses import astuple, fields, replace

import numpy as np

from voxadapt.recipes.corpora.speech_prosody import Prosody, Voice, draw_tracks
from voxadapt.recipes.corpora.speech_synthesis import FloatArray, SpeechTracks, synthesise

SECONDS = (1.6, 2.4)  # shortest and longest clip
LEVEL = -26.0  # dB over full scale, of a neutral clip of a speaker of gain 0
NOISE = (-58.0, -48.0)  # room noise, in dB over the speech
PEAK = 0.95

EMOTIONS: dict[str, Prosody] = {
    "angry": Prosody(
        level=3.0, pitch=1.5, accent=8.0, peak=0.0, declination=-1.0, ending=-3.0, rate=5.6,
        contrast=7.0, attack=0.08, legato=0.06, tremor=0.0,
        open_quotient=0.40, tilt=-4.5, jitter=0.025, shimmer=0.25, breath=0.03,
    ),
    "happy": Prosody(
        level=1.5, pitch=3.5, accent=9.0, peak=1.0, declination=0.5, ending=4.0, rate=4.8,
        contrast=4.0, attack=0.65, legato=0.20, tremor=0.0,
        open_quotient=0.52, tilt=-1.0, jitter=0.004, shimmer=0.04, breath=0.05,
    ),
    "neutral": Prosody(
        level=0.0, pitch=-0.5, accent=0.8, peak=0.5, declination=-0.5, ending=-1.0, rate=4.4,
        contrast=1.0, attack=0.25, legato=0.60, tremor=0.0,
        open_quotient=0.60, tilt=2.0, jitter=0.004, shimmer=0.04, breath=0.05,
    ),
    "sad": Prosody(
        level=-3.0, pitch=-0.5, accent=1.5, peak=0.3, declination=-2.5, ending=-2.0, rate=2.4,
        contrast=2.0, attack=0.50, legato=0.80, tremor=1.5,
        open_quotient=0.80, tilt=6.5, jitter=0.008, shimmer=0.05, breath=0.11,
    ),
}  # fmt: skip
"""The middle of each emotion."""

CLIP_SPREAD = Prosody(
    level=3.5, pitch=2.0, accent=0.7, peak=0.06, declination=0.4, ending=0.7, rate=0.25,
    contrast=0.7, attack=0.03, legato=0.05, tremor=0.1,
    open_quotient=0.02, tilt=0.8, jitter=0.002, shimmer=0.02, breath=0.015,
)  # fmt: skip
"""Standard deviation from clip to clip within an emotion."""

SPEAKER_SPREAD = Prosody(
    level=0.0, pitch=0.4, accent=0.3, peak=0.03, declination=0.1, ending=0.2, rate=0.15,
    contrast=0.3, attack=0.02, legato=0.03, tremor=0.05,
    open_quotient=0.01, tilt=0.1, jitter=0.001, shimmer=0.01, breath=0.01,
)  # fmt: skip
"""Standard deviation of how the speakers' ways of speaking differ, the same in every emotion."""

LOWEST = Prosody(
    level=-99.0, pitch=-99.0, accent=0.3, peak=0.0, declination=-99.0, ending=-99.0, rate=2.2,
    contrast=0.0, attack=0.05, legato=0.05, tremor=0.0,
    open_quotient=0.35, tilt=-99.0, jitter=0.002, shimmer=0.01, breath=0.01,
)  # fmt: skip
"""No draw goes below it; -99 stands for no limit."""

# Usual pitch in Hz and split: a low and a high voice are heard in test only.
SPEAKERS: tuple[tuple[float, str], ...] = (
    (98.0, "train"),
    (110.0, "test"),
    (122.0, "train"),
    (137.0, "train"),
    (165.0, "valid"),
    (183.0, "train"),
    (202.0, "test"),
    (220.0, "train"),
)


def draw_voice(seed: int, speaker: int) -> tuple[Voice, FloatArray]:
    """Draw a speaker.

    Args:
        seed: The corpus's seed.
        speaker: Index into `SPEAKERS`.

    Returns:
        The voice, and what the speaker adds to each field of every `Prosody`, `[16]`.
    """
    # Not [seed, speaker]: numpy pads with zeros, so that is the generator of clip (.., .., 0, 0).
    rng = np.random.default_rng([seed, speaker, len(EMOTIONS), 0])
    f0, split = SPEAKERS[speaker]
    # Five voices to train on span little: those heard later lie in the middle of what they span.
    limit = 1.5 if split == "train" else 0.7
    pitch, scale, tilt, gain = np.clip(rng.standard_normal(4), -limit, limit)
    voice = Voice(
        f0=f0 * 2.0 ** (0.4 * pitch / 12.0),
        # Shorter tracts go with higher voices: 0.97 at 98 Hz, 1.17 at 220 Hz, and a little chance.
        tract_scale=0.97 + 0.20 * np.log(f0 / 98.0) / np.log(220.0 / 98.0) + 0.02 * scale,
        tilt=4.0 + 0.3 * tilt,
        gain=2.5 * gain,
    )
    style = np.clip(rng.standard_normal(len(fields(Prosody))), -limit, limit)
    return voice, style * np.array(astuple(SPEAKER_SPREAD))


def draw_clip(
    seed: int, speaker: int, emotion: int, take: int
) -> tuple[SpeechTracks, float, np.random.Generator]:
    """Draw all that decides one clip, a pure function of its four numbers.

    Args:
        seed: The corpus's seed.
        speaker: Index into `SPEAKERS`.
        emotion: Index into `EMOTIONS`.
        take: Which clip of that speaker and emotion.

    Returns:
        The control tracks, the clip's level in dB over full scale (root mean square), and the
        generator to synthesise it with.
    """
    voice, style = draw_voice(seed, speaker)
    rng = np.random.default_rng([seed, speaker, emotion, take])
    chance = np.clip(rng.standard_normal(len(style)), -2.0, 2.0) * np.array(astuple(CLIP_SPREAD))
    middle = np.array(astuple(list(EMOTIONS.values())[emotion]))
    values = np.maximum(middle + style + chance, np.array(astuple(LOWEST)))
    prosody = Prosody(*values.tolist())
    voice = replace(voice, tract_scale=voice.tract_scale * rng.uniform(0.95, 1.05))
    tracks = draw_tracks(voice, prosody, rng.uniform(*SECONDS), rng)
    return tracks, LEVEL + voice.gain + prosody.level, rng


def draw_samples(seed: int, speaker: int, emotion: int, take: int) -> FloatArray:
    """Synthesise one clip at its level, over a little room noise; `[S]` within -1..1."""
    tracks, level, rng = draw_clip(seed, speaker, emotion, take)
    speech = synthesise(tracks, rng)
    speech /= np.sqrt(np.mean(speech**2))
    noise = 10.0 ** (rng.uniform(*NOISE) / 20.0) * rng.standard_normal(len(speech))
    samples = 10.0 ** (level / 20.0) * (speech + noise)
    return samples * min(1.0, PEAK / np.abs(samples).max())
