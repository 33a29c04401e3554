# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT017 (whether reading raises is what is asked)
"""What is measured of a clip, against samples made for it."""

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxadapt.backbones import audio_file
from voxadapt.backbones.audio import AudioError, read_audio
from voxadapt.recipes.corpora.audio_quality import AudioQuality, measure_clip
from voxadapt.recipes.corpora.clip import Clip


def noise(seconds: float = 1.0, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.clip(
        level * np.random.default_rng(seed).standard_normal(round(16_000 * seconds)), -1, 1
    )


def measure(path: Path, samples: np.ndarray, rate: int = 16_000, **options: Any) -> AudioQuality:
    soundfile.write(path, samples, rate, **options)
    return measure_clip(Clip("a", path))


def test_level_offset_peak_and_length(tmp_path: Path) -> None:
    tone = 0.25 + 0.5 * np.sin(2 * np.pi * 200 * np.arange(8_000) / 16_000)
    found = measure(tmp_path / "a.wav", np.stack([tone, tone], axis=1), subtype="FLOAT")
    assert found.problem is None
    assert (found.seconds, found.rate, found.channels) == (0.5, 16_000, 2)
    assert (found.container, found.encoding) == ("WAV", "FLOAT")
    assert found.offset == pytest.approx(0.25, abs=1e-6)
    assert found.peak == pytest.approx(0.75, abs=1e-6)
    assert found.level == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=1e-3)
    assert found.implied_rate == 16_000
    assert found.clipped == 0


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_clipping_at_full_scale_and_made_quieter_since(tmp_path: Path, gain: float) -> None:
    loud = np.clip(noise(level=0.5), -0.99999, 0.99999)
    share = float((np.abs(loud) > 0.9999).mean())
    found = measure(tmp_path / "a.wav", gain * np.repeat(loud, 4))  # flat tops of four samples
    assert share > 0.01
    assert found.clipped == pytest.approx(share, rel=0.02)


def test_loud_speechlike_sound_is_not_clipped(tmp_path: Path) -> None:
    sound = noise(level=0.2)
    assert measure(tmp_path / "a.wav", sound / np.abs(sound).max() * 0.999).clipped < 1e-4
    slow = 0.9 * np.sin(2 * np.pi * 50 * np.arange(16_000) / 16_000)
    assert measure(tmp_path / "a.wav", slow).clipped == 0
    one_flat_top = noise(level=0.1)
    one_flat_top[500:512] = np.abs(one_flat_top).max() + 0.3
    assert measure(tmp_path / "a.wav", one_flat_top).clipped == 0
    few_steps = np.round(noise(level=0.02) * 128) / 128  # 8-bit audio has flat tops by nature
    assert measure(tmp_path / "a.wav", few_steps).clipped == 0


def test_every_file_of_the_zoo_as_the_reader_has_it(animals: dict[str, Any]) -> None:
    for name, animal in animals.items():
        found = measure_clip(Clip(name, animal.path))
        reason = "" if found.problem is None else found.problem[0]
        assert reason in (animal.reasons or ("",)), name
        if animal.reasons:
            assert all(found.problem), name
            assert str(animal.path) not in found.problem[1]
            continue
        assert found.level == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.5), name
        assert found.clipped == 0, name


@pytest.mark.parametrize("part", [(0.25, 0.75), (0.5, None), (2.0, None), (0.5, 0.4)])
def test_parts_are_measured_alone(tmp_path: Path, part: tuple[float, float | None]) -> None:
    sound = np.concatenate([np.zeros(8_000), noise(0.5)])
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    found = measure_clip(Clip("a", tmp_path / "a.wav", *part))
    try:
        samples = read_audio(tmp_path / "a.wav", start=part[0], end=part[1])
    except AudioError as error:
        assert found.problem is not None
        assert found.problem[0] == error.reason
    else:
        assert found.seconds == len(samples) / 16_000
        assert found.peak == pytest.approx(float(samples.abs().max()))


def test_the_digest_is_of_the_samples(tmp_path: Path) -> None:
    sound = np.round(32_768 * noise()).astype(np.int16)
    wav = measure(tmp_path / "a.wav", sound)
    assert measure(tmp_path / "a.flac", sound).digest == wav.digest
    assert measure(tmp_path / "b.wav", sound, rate=8_000).digest == wav.digest  # wrong header
    assert measure(tmp_path / "a.aiff", np.stack([sound, sound], axis=1)).digest == wav.digest
    assert measure(tmp_path / "c.wav", sound // 2).digest != wav.digest
    assert measure(tmp_path / "d.wav", sound[:-1]).digest != wav.digest


def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loud = np.clip(np.repeat(noise(0.5, level=0.5), 4), -0.6, 0.6)
    whole = measure(tmp_path / "a.wav", loud)
    monkeypatch.setattr(audio_file, "_BLOCK_SAMPLES", 5_003)
    parts = measure_clip(Clip("a", tmp_path / "a.wav"))
    assert whole.clipped > 0.1
    assert parts.clipped == pytest.approx(whole.clipped, rel=0.01)
    assert parts.digest == whole.digest
    np.testing.assert_array_equal(parts.fingerprint, whole.fingerprint)
    for name in ("level", "offset", "peak", "seconds"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name))


def test_what_there_is_of_a_cut_file_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2), 16_000)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: 44 + 32_000])
    found = measure_clip(Clip("a", tmp_path / "a.wav"))
    assert found.problem == (
        "truncated",
        "ends 1.000 s before its header says",
        "it was cut off, so copy it again",
    )
    assert found.seconds == 1


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_three_hours_in_little_memory(tmp_path: Path, ending: str, zoo: Any) -> None:
    path = tmp_path / f"long.{ending}"
    minute = (zoo.tone(16_000, 60) * 32_767).astype("<i2")
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        for _ in range(180):
            file.write(minute)
    tracemalloc.start()
    found = measure_clip(Clip("a", path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.problem is None
    assert found.seconds == 10_800
    assert peak < 150e6  # three hours are 690 MB as samples
    part = read_audio(path, start=10_795, end=10_800)
    np.testing.assert_allclose(part.numpy(), zoo.tone(16_000, 5), atol=1e-3)
    whole = read_audio(path)
    assert len(whole) == 10_800 * 16_000
    np.testing.assert_allclose(whole[-16_000:].numpy(), zoo.tone(16_000, 1), atol=1e-3)
