# SPDX-License-Identifier: Apache-2.0
"""Copies of a clip in other clothes have its fingerprint and correlate; other clips do neither."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from voxadapt.recipes.corpora.audio_fingerprint import Fingerprinter, centred_samples, correlate
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.duplicates import _ALIKE, _COPY


def speechlike(seed: int, seconds: float = 1.5) -> np.ndarray:
    """Noise whose bands swell and fade, as in speech."""
    random = np.random.default_rng(seed)
    count = round(16_000 * seconds)
    steps = np.arange(count) / 16_000
    swell = 1 + np.sin(2 * np.pi * random.uniform(1, 4) * steps + random.uniform(0, 6))
    pitch = 2 * np.pi * random.uniform(90, 250) * steps + 3 * np.sin(2 * np.pi * steps)
    voice = sum(np.sin(number * pitch) / number for number in range(1, 15))
    sound = swell * (voice + 0.1 * random.standard_normal(count))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def fingerprint(samples: np.ndarray, rate: int = 16_000) -> np.ndarray:
    printer = Fingerprinter(rate)
    printer.add(samples)
    return printer.vector().astype(np.float32)


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    return torchaudio.functional.resample(torch.from_numpy(samples), 16_000, rate).numpy()


COPIES = {
    "gain.wav": (lambda sound: 0.1 * sound, 16_000),
    "flipped.wav": (lambda sound: -sound, 16_000),
    "offset.wav": (lambda sound: sound + 0.1, 16_000),
    "coded.mp3": (lambda sound: sound, 16_000),
    "coded.ogg": (lambda sound: 0.5 * sound, 16_000),
    "rate.wav": (lambda sound: resampled(sound, 44_100), 44_100),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_alike(name: str, tmp_path: Path) -> None:
    change, rate = COPIES[name]
    sound = speechlike(0)
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    soundfile.write(tmp_path / name, change(sound), rate)
    copy, _ = soundfile.read(tmp_path / name, dtype="float32")
    assert fingerprint(sound) @ fingerprint(copy, rate) > _ALIKE
    pair = [centred_samples(Clip(file, tmp_path / file)) for file in ("a.wav", name)]
    assert _COPY < correlate(*pair) <= 1.0001


def test_other_clips_do_not_correlate(tmp_path: Path) -> None:
    clips = []
    for seed in range(6):
        soundfile.write(tmp_path / f"{seed}.wav", speechlike(seed), 16_000)
        clips.append(centred_samples(Clip(str(seed), tmp_path / f"{seed}.wav")))
    found = [correlate(one, other) for one in clips for other in clips if one is not other]
    assert max(found) < 0.5


@pytest.mark.parametrize("count", [1, 100, 511, 512, 513, 5_000, 16_384, 16_385, 600_000])
def test_length_of_the_vector(count: int) -> None:
    vector = fingerprint(speechlike(0, 40)[:count])
    assert vector.shape == (256,)
    assert np.isfinite(vector).all()
    assert abs(vector.mean()) < 1e-3
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-2)


def test_blocks_change_nothing() -> None:
    sound = speechlike(1)
    whole = fingerprint(sound)
    printer = Fingerprinter(16_000)
    for first in range(0, len(sound), 1_111):
        printer.add(sound[first : first + 1_111])
    np.testing.assert_array_equal(printer.vector().astype(np.float32), whole)
