# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from voxadapt.recipes.corpora.speech_synthesis import (
    FFT_SIZE,
    HOP,
    SAMPLE_RATE,
    TRACK_RATE,
    SpeechTracks,
    framewise_spectra,
    glottal_source,
    overlap_add,
    resonances,
    synthesise,
)


def steady(**changes: object) -> SpeechTracks:
    """One second of a steady vowel of 125 Hz, with neither jitter nor noise."""
    tracks = SpeechTracks(
        f0=np.full(TRACK_RATE, 125.0),
        voicing=np.ones(TRACK_RATE),
        frication=np.zeros(TRACK_RATE),
        frication_center=np.full(TRACK_RATE, 4000.0),
        formants=np.tile([700.0, 1200.0, 2500.0, 3500.0], (TRACK_RATE, 1)),
        tract_scale=1.0,
        open_quotient=0.6,
        tilt=0.0,
        jitter=0.0,
        shimmer=0.0,
        breath=0.0,
    )
    return dataclasses.replace(tracks, **changes)


def power(tracks: SpeechTracks) -> np.ndarray:
    """Power at every Hz from 0 to 8,000 of the middle half of the utterance."""
    samples = synthesise(tracks, np.random.default_rng(0))
    middle = samples[4000:12000] * np.hanning(8000)
    return np.abs(np.fft.rfft(middle, SAMPLE_RATE)) ** 2


def band(spectrum: np.ndarray, low: int, high: int) -> float:
    return float(spectrum[low:high].sum())


def test_a_vowel_is_periodic_at_its_pitch():
    samples = synthesise(steady(), np.random.default_rng(0))[4000:12000]
    assert len(synthesise(steady(), np.random.default_rng(0))) == SAMPLE_RATE
    period = SAMPLE_RATE // 125
    difference = samples[period:] - samples[:-period]
    assert np.abs(difference).max() < 0.02 * np.abs(samples).max()
    harmonics = power(steady())[125:4000:125]
    between = power(steady())[187:4000:125]
    assert np.median(harmonics) > 1e4 * np.median(between)


def test_pitch_follows_its_track():
    spectrum = power(steady(f0=np.full(TRACK_RATE, 200.0)))
    assert np.argmax(spectrum[100:300]) + 100 == 200


def test_a_formant_lifts_the_harmonics_around_it():
    low = power(steady(formants=np.tile([300.0, 900.0, 2500.0, 3500.0], (TRACK_RATE, 1))))
    high = power(steady(formants=np.tile([300.0, 2200.0, 2500.0, 3500.0], (TRACK_RATE, 1))))
    assert band(low, 800, 1000) > 10 * band(high, 800, 1000)
    assert band(high, 2100, 2300) > 10 * band(low, 2100, 2300)


def test_tilt_takes_as_many_decibels_per_octave_as_it_says():
    flat, tilted = power(steady()), power(steady(tilt=6.0))
    for frequency, octaves in ((250, 0), (1000, 1), (2000, 2), (4000, 3)):
        decibels = 10 * np.log10(flat[frequency] / tilted[frequency])
        assert decibels == pytest.approx(6.0 * octaves, abs=0.3)


def test_a_smaller_open_quotient_is_a_brighter_voice():
    tense, breathy = power(steady(open_quotient=0.4)), power(steady(open_quotient=0.8))

    def first_over_third(spectrum: np.ndarray) -> float:
        return float(spectrum[125] / spectrum[375])

    assert first_over_third(breathy) > 2 * first_over_third(tense)


@pytest.mark.parametrize("change", [{"breath": 0.2}, {"jitter": 0.02}, {"shimmer": 0.2}])
def test_irregular_voices_have_something_between_the_harmonics(change: dict[str, float]):
    between = slice(187, 4000, 125)
    assert power(steady(**change))[between].sum() > 100 * power(steady())[between].sum()


@pytest.mark.parametrize("tract_scale", np.arange(0.85, 1.3, 0.05))
def test_no_tract_drowns_the_voice_in_its_highest_resonances(tract_scale: float):
    tracks = steady(tract_scale=tract_scale)
    spectrum = power(dataclasses.replace(tracks, formants=tracks.formants * tract_scale))
    assert band(spectrum, 0, 4000) > 20 * band(spectrum, 5000, 8000)


def test_frication_is_noise_around_its_centre():
    tracks = steady(voicing=np.zeros(TRACK_RATE), frication=np.full(TRACK_RATE, 0.3))
    spectrum = power(tracks)
    assert band(spectrum, 3500, 4500) > 20 * band(spectrum, 500, 1500)
    assert band(spectrum, 3500, 4500) > 20 * band(spectrum, 7000, 8000)


def test_nothing_sounds_where_both_amplitudes_are_zero():
    voicing = np.ones(TRACK_RATE)
    voicing[40:60] = 0
    samples = synthesise(steady(voicing=voicing), np.random.default_rng(0))
    # From 44 to 60 hundredths: the resonances have rung out by then.
    assert np.abs(samples[46 * HOP : 59 * HOP]).max() < 1e-3 * np.abs(samples).max()


def test_voicing_changes_come_at_their_time():
    voicing = np.zeros(TRACK_RATE)
    voicing[50:] = 1.0
    samples = synthesise(steady(voicing=voicing), np.random.default_rng(0))
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max())
    assert loud[0] / SAMPLE_RATE == pytest.approx(0.5, abs=0.02)


def test_the_source_does_not_alias():
    # 190 Hz does not divide the sampling rate: aliases would fall between the harmonics.
    spectrum = power(steady(f0=np.full(TRACK_RATE, 190.0)))
    between = spectrum[285:5000:190]
    assert between.max() < 1e-3 * spectrum[190:5000:190].min()


def test_overlap_add_of_unfiltered_frames_gives_the_samples_back():
    samples = np.random.default_rng(0).standard_normal(50 * HOP)
    spectra = framewise_spectra(samples, 50)
    assert spectra.shape == (50, FFT_SIZE // 2 + 1)
    # The first hop and the last have one window only.
    assert np.allclose(overlap_add(spectra)[HOP:-HOP], samples[HOP:-HOP], atol=1e-9)


def test_oversampled_frames_come_back_at_the_plain_rate():
    seconds = np.arange(2 * 50 * HOP) / (2 * SAMPLE_RATE)
    high = np.sin(2 * np.pi * 440 * seconds) + np.sin(2 * np.pi * 12_000 * seconds)
    plain = np.sin(2 * np.pi * 440 * np.arange(50 * HOP) / SAMPLE_RATE)
    found = overlap_add(framewise_spectra(high, 50, oversampling=2))
    assert np.allclose(found[HOP:-HOP], plain[HOP:-HOP], atol=5e-3)


def test_a_resonance_is_the_klatt_difference_equation():
    center, bandwidth = 1000.0, 100.0
    c = -np.exp(-2 * np.pi * bandwidth / SAMPLE_RATE)
    b = 2 * np.exp(-np.pi * bandwidth / SAMPLE_RATE) * np.cos(2 * np.pi * center / SAMPLE_RATE)
    impulse = np.zeros(4096)
    for n in range(4096):
        impulse[n] = (1 - b - c) * (n == 0) + b * impulse[n - 1] + c * impulse[n - 2]
    frequencies = np.arange(2049) * SAMPLE_RATE / 4096
    found = resonances(frequencies, np.array([center]), np.array([bandwidth]))
    assert np.allclose(found, np.fft.rfft(impulse), atol=1e-6)


def test_resonances_broadcast_over_frames():
    centers = np.array([[500.0, 1500.0], [600.0, 1600.0], [700.0, 1700.0]])
    frequencies = np.linspace(0, 8000, 11)
    found = resonances(frequencies, centers, np.array([80.0, 120.0]))
    assert found.shape == (3, 11)
    for row, pair in zip(found, centers, strict=True):
        single = [
            resonances(frequencies, np.array([c]), np.array([b]))
            for c, b in zip(pair, (80.0, 120.0), strict=True)
        ]
        assert np.allclose(row, single[0] * single[1])


def test_randomness_comes_from_the_generator_only():
    tracks = steady(breath=0.1, jitter=0.02, shimmer=0.1)
    first = synthesise(tracks, np.random.default_rng(1))
    assert np.array_equal(first, synthesise(tracks, np.random.default_rng(1)))
    assert not np.allclose(first, synthesise(tracks, np.random.default_rng(2)))


def test_large_jitter_at_a_high_pitch_stays_within_its_periods():
    tracks = steady(f0=np.full(TRACK_RATE, 480.0), jitter=0.3, shimmer=0.5)
    assert np.all(np.isfinite(glottal_source(tracks, np.random.default_rng(0))))


def test_mean_f0_is_over_voiced_frames():
    f0 = np.full(TRACK_RATE, 100.0)
    f0[:50] = 300.0
    voicing = np.ones(TRACK_RATE)
    voicing[:50] = 0.0
    assert steady(f0=f0, voicing=voicing).mean_f0 == pytest.approx(100.0)
    assert steady().seconds == 1.0
