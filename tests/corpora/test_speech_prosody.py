# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from voxadapt.recipes.corpora.speech_prosody import (
    HIGHEST_F0,
    LOWEST_F0,
    Prosody,
    Voice,
    draw_syllables,
    draw_tracks,
    pitch_contour,
    smooth,
)

VOICE = Voice(f0=120.0, tract_scale=1.0, tilt=2.0, gain=0.0)
FLAT = Prosody(
    level=0.0,
    pitch=0.0,
    accent=0.0,
    peak=0.5,
    declination=0.0,
    ending=0.0,
    rate=4.0,
    contrast=0.0,
    attack=0.3,
    legato=0.5,
    tremor=0.0,
    open_quotient=0.6,
    tilt=1.0,
    jitter=0.0,
    shimmer=0.0,
    breath=0.0,
)
TIMES = (np.arange(200) + 0.5) / 100
EDGES = np.linspace(0.0, 2.0, 5)  # four syllables of half a second


def contour(**changes: float) -> np.ndarray:
    """Pitch over the usual one, in semitones, for accents of strength 1 on the first and third."""
    prosody = dataclasses.replace(FLAT, **changes)
    f0 = pitch_contour(VOICE, prosody, EDGES, np.array([1.0, 0.0, 1.0, 0.0]), TIMES)
    return 12 * np.log2(f0 / VOICE.f0)


def tracks(seed: int = 0, voice: Voice = VOICE, **changes: float):
    prosody = dataclasses.replace(FLAT, **changes)
    return draw_tracks(voice, prosody, 2.0, np.random.default_rng(seed))


def test_a_flat_prosody_is_flat():
    assert np.allclose(contour(), 0.0)
    assert np.allclose(contour(pitch=3.0), 3.0)


def test_declination_is_in_semitones_per_second_around_the_middle():
    semitones = contour(declination=-2.0)
    assert semitones[50] - semitones[150] == pytest.approx(2.0)
    assert semitones.mean() == pytest.approx(0.0, abs=0.01)


def test_the_ending_moves_the_last_0_3_seconds_only():
    semitones = contour(ending=3.0)
    assert np.allclose(semitones[:165], 0.0)
    assert semitones[-1] == pytest.approx(3.0, abs=0.3)


def test_an_accent_peaks_early_or_late_in_its_syllable():
    early, late = contour(accent=6.0, peak=0.0), contour(accent=6.0, peak=1.0)
    assert np.argmax(early[:50]) == pytest.approx(12, abs=2)
    assert np.argmax(late[:60]) == pytest.approx(47, abs=2)
    for semitones in (early, late):
        assert 4.5 < semitones.max() <= 6.0
        assert semitones[75] == pytest.approx(0.0, abs=0.1)  # amid the unaccented second syllable


def test_tremor_goes_up_and_down_5_5_times_a_second():
    semitones = contour(tremor=1.0)
    crossings = np.count_nonzero(np.diff(np.sign(semitones)) != 0)
    assert crossings == pytest.approx(2 * 5.5 * 2, abs=1)
    assert 0.7 < semitones.max() <= 1.0


@pytest.mark.parametrize(("pitch", "limit"), [(60.0, HIGHEST_F0), (-60.0, LOWEST_F0)])
def test_pitch_stays_within_what_voices_do(pitch: float, limit: float):
    assert np.allclose(VOICE.f0 * 2 ** (contour(pitch=pitch) / 12), limit)


@pytest.mark.parametrize("rate", [2.5, 5.0])
def test_syllables_fill_the_time_at_their_rate(rate: float):
    prosody = dataclasses.replace(FLAT, rate=rate)
    edges, accents = draw_syllables(prosody, 2.0, np.random.default_rng(0))
    assert (edges[0], edges[-1]) == (0.0, pytest.approx(2.0))
    assert np.all(np.diff(edges) > 0)
    assert len(accents) == len(edges) - 1 == round(2.0 * rate)


def test_accented_and_unaccented_syllables_take_turns():
    _, accents = draw_syllables(FLAT, 3.0, np.random.default_rng(0))
    strong = accents > 0.7
    assert np.all(strong[1:] != strong[:-1])


def test_tracks_are_of_one_length_and_sane():
    drawn = tracks()
    assert drawn.seconds == 2.0
    assert drawn.formants.shape == (200, 4)
    for track in (drawn.f0, drawn.voicing, drawn.frication, drawn.frication_center):
        assert track.shape == (200,)
    assert np.all(drawn.voicing >= 0)
    assert np.all(drawn.frication >= 0)
    assert np.all(np.diff(drawn.formants, axis=1) > 0)
    assert drawn.tilt == VOICE.tilt + FLAT.tilt


def test_every_clip_is_mostly_voiced_and_has_consonants():
    for seed in range(20):
        drawn = tracks(seed)
        assert np.mean(drawn.voicing > 0.2) > 0.5
        assert drawn.frication.max() > 0.05


def test_the_tract_scales_the_formants():
    longer = tracks(voice=dataclasses.replace(VOICE, tract_scale=1.2))
    assert np.allclose(longer.formants, 1.2 * tracks().formants)


def test_legato_fills_the_gaps_between_vowels():
    quiet = [np.mean(tracks(seed, legato=0.1).voicing) for seed in range(5)]
    tied = [np.mean(tracks(seed, legato=0.9).voicing) for seed in range(5)]
    assert np.mean(tied) > 1.3 * np.mean(quiet)


def test_contrast_is_the_loudness_of_accented_over_unaccented_vowels():
    def spread(contrast: float) -> float:
        return np.mean([np.std(tracks(seed, contrast=contrast).voicing) for seed in range(5)])

    assert spread(10.0) > spread(0.0) + 0.03


def test_the_words_do_not_depend_on_the_way_of_speaking():
    # Same syllables, so that only prosody tells the emotions apart.
    assert np.allclose(tracks(accent=8.0, tremor=1.0, legato=0.1).formants, tracks().formants)


def test_smoothing_keeps_levels_and_lengths():
    assert np.allclose(smooth(np.full(50, 3.0), 0.1), 3.0)
    step = smooth(np.repeat([0.0, 1.0], 50), 0.1)
    assert len(step) == 100
    assert np.all(np.diff(step) >= 0)
    assert step[49] < 0.5 < step[50]
    assert smooth(np.zeros((50, 4)), 0.1).shape == (50, 4)
