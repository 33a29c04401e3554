# SPDX-License-Identifier: Apache-2.0
import csv
import dataclasses
import wave
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from voxadapt.recipes.corpora.demo_corpus import CLIPS_PER_SPEAKER_EMOTION, make_demo_corpus
from voxadapt.recipes.corpora.demo_voices import (
    EMOTIONS,
    LOWEST,
    PEAK,
    SECONDS,
    SPEAKERS,
    draw_clip,
    draw_samples,
    draw_voice,
)
from voxadapt.recipes.corpora.speech_prosody import Prosody

LABELS = list(EMOTIONS)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Measures of every clip of the default corpus, from its files and its true pitch."""
    manifest = make_demo_corpus(tmp_path_factory.mktemp("demo") / "corpus")
    measured: dict[str, list] = defaultdict(list)
    with open(manifest, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        samples = read_wav(manifest.parent / row["path"])
        frames = samples[: len(samples) // 400 * 400].reshape(-1, 400)
        take = index % CLIPS_PER_SPEAKER_EMOTION
        tracks, _, _ = draw_clip(0, int(row["speaker"][-1]) - 1, LABELS.index(row["label"]), take)
        assert len(samples) == round(tracks.seconds * 16_000)
        measured["label"].append(row["label"])
        measured["split"].append(row["split"])
        measured["speaker"].append(row["speaker"])
        power = np.abs(np.fft.rfft(samples)) ** 2
        measured["share below 4 kHz"].append(power[: len(power) // 2].sum() / power.sum())
        measured["peak"].append(np.abs(samples).max())
        measured["energy"].append(10 * np.log10(np.mean(samples**2)))
        measured["energy of frames"].append(np.log(np.mean(frames**2, axis=1) + 1e-9).mean())
        measured["pitch"].append(tracks.mean_f0)
        measured["log pitch"].append(np.log(tracks.mean_f0))
    return {name: np.array(values) for name, values in measured.items()}


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0


@pytest.mark.parametrize(
    "features",
    [
        ["energy"],
        ["energy of frames"],
        ["pitch"],
        ["log pitch"],
        ["energy", "energy of frames", "pitch", "log pitch"],
    ],
    ids=" and ".join,
)
def test_means_do_not_tell_the_emotions_apart(clips: dict[str, np.ndarray], features: list[str]):
    values = np.stack([clips[name] for name in features], axis=1)
    train, test = clips["split"] == "train", clips["split"] == "test"
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(values[train], clips["label"][train])
    unweighted_accuracy = recall_score(
        clips["label"][test], model.predict(values[test]), average="macro"
    )
    assert unweighted_accuracy < 0.75


def test_no_clip_is_limited_away_or_hardly_heard(clips: dict[str, np.ndarray]):
    assert clips["peak"].max() <= PEAK + 1e-4
    assert clips["energy"].min() > -50


@pytest.mark.parametrize("split", ["train", "test"])
def test_emotions_overlap_between_speakers_in_pitch(clips: dict[str, np.ndarray], split: str):
    # The highest voice is higher when sad than the lowest one when happy.
    of_split = clips["split"] == split
    speakers = np.unique(clips["speaker"][of_split])  # named from low to high

    def pitch(speaker: str, label: str) -> float:
        chosen = (clips["speaker"] == speaker) & (clips["label"] == label)
        return float(np.median(clips["pitch"][chosen]))

    assert pitch(speakers[-1], "sad") > pitch(speakers[0], "happy")


def test_the_voice_is_heard_above_the_noise_in_every_clip(clips: dict[str, np.ndarray]):
    assert clips["share below 4 kHz"].min() > 0.8


def test_a_clip_is_a_function_of_its_four_numbers():
    assert np.array_equal(draw_samples(3, 1, 2, 4), draw_samples(3, 1, 2, 4))
    others = [(4, 1, 2, 4), (3, 2, 2, 4), (3, 1, 3, 4), (3, 1, 2, 5)]
    first = draw_clip(3, 1, 2, 4)[0].mean_f0
    assert all(draw_clip(*other)[0].mean_f0 != first for other in others)


def test_clips_have_speech_length_and_finite_samples():
    for speaker in range(len(SPEAKERS)):
        samples = draw_samples(5, speaker, speaker % len(LABELS), 0)
        assert SECONDS[0] - 0.01 <= len(samples) / 16_000 <= SECONDS[1] + 0.01
        assert np.all(np.isfinite(samples))
        assert 0.01 < np.abs(samples).max() < PEAK + 1e-9


def test_the_emotions_differ_in_dynamics_as_they_should():
    rate, spread, tilt = {}, {}, {}
    for emotion, label in enumerate(LABELS):
        drawn = [draw_clip(0, speaker, emotion, take)[0] for speaker in range(8) for take in (0, 1)]
        spread[label] = np.mean([np.std(np.log2(tracks.f0)) for tracks in drawn])
        tilt[label] = np.mean([tracks.tilt for tracks in drawn])
        rate[label] = EMOTIONS[label].rate
    assert min(spread["angry"], spread["happy"]) > 2 * spread["neutral"]
    assert tilt["angry"] < tilt["happy"] < tilt["neutral"] < tilt["sad"]
    assert rate["angry"] > rate["happy"] > rate["neutral"] > rate["sad"]


def test_voices_differ_in_pitch_and_formants_and_do_not_depend_on_the_emotion():
    voices = [draw_voice(0, speaker)[0] for speaker in range(len(SPEAKERS))]
    assert len({voice.f0 for voice in voices}) == len({voice.tract_scale for voice in voices}) == 8
    assert voices[-1].f0 > 1.8 * voices[0].f0
    assert voices[-1].tract_scale > 1.1 * voices[0].tract_scale


def test_no_draw_goes_below_the_lowest_values():
    # A quotient or an attack of 0 would divide by it; 400 draws reach the tails.
    for take in range(100):
        for emotion in range(len(LABELS)):
            tracks, _, _ = draw_clip(0, take % 8, emotion, take)
            assert tracks.open_quotient >= LOWEST.open_quotient
            assert min(tracks.jitter, tracks.shimmer, tracks.breath) > 0
            assert np.all(tracks.f0 > 50)
    positive = {"accent", "rate", "attack", "legato", "open_quotient", "jitter", "breath"}
    assert all(getattr(LOWEST, name) > 0 for name in positive)
    assert {field.name for field in dataclasses.fields(Prosody)} > positive
