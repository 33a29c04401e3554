# SPDX-License-Identifier: Apache-2.0
"""Gates: sound is found in quiet, and speech among noise."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from voxadapt.backbones import read_audio
from voxadapt.timeline_gates import EnergyGate, SileroGate, build_gate, frame_levels

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
RATE = 16_000
SOUNDS = [(2.0, 4.0), (4.2, 5.0), (9.0, 9.5)]


def recording(noise: float, seconds: float = 20.0, level: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(0)
    samples = noise * random.standard_normal(round(seconds * RATE))
    for start, end in SOUNDS:
        part = slice(round(start * RATE), round(end * RATE))
        samples[part] += level * random.standard_normal(part.stop - part.start)
    return samples.astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3, 0.02])
def test_sounds_are_found_above_any_noise(noise: float) -> None:
    spans = EnergyGate()(recording(noise), RATE)
    # The pause of 0.2 s is taken for a part of the speech.
    assert spans == [
        pytest.approx((1.9, 5.1), abs=0.05),
        pytest.approx((8.9, 9.6), abs=0.05),
    ]
    apart = EnergyGate(pause=0.05, padding=0.0)(recording(noise), RATE)
    assert apart == [pytest.approx(span, abs=0.05) for span in SOUNDS]


def test_noise_alone_silence_and_an_offset_are_not_speech() -> None:
    random = np.random.default_rng(1)
    gate = EnergyGate()
    assert gate(0.1 * random.standard_normal(30 * RATE).astype(np.float32), RATE) == []
    assert gate(np.zeros(RATE, dtype=np.float32), RATE) == []
    assert gate(np.full(RATE, 0.5, dtype=np.float32), RATE) == []
    assert gate(np.zeros(10, dtype=np.float32), RATE) == []


def test_what_is_shorter_than_a_sound_of_speech_is_not_speech() -> None:
    samples = recording(1e-4)
    samples[15 * RATE : 15 * RATE + 400] = 0.9 * (-1.0) ** np.arange(400)
    assert max(end for _, end in EnergyGate()(samples, RATE)) < 10
    assert max(end for _, end in EnergyGate(shortest=0.01)(samples, RATE)) > 15


def test_another_rate() -> None:
    samples = np.repeat(recording(1e-3), 3)
    assert EnergyGate()(samples, 48_000) == [
        pytest.approx((1.9, 5.1), abs=0.05),
        pytest.approx((8.9, 9.6), abs=0.05),
    ]


def test_levels_are_decibels_of_full_scale() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE) + 0.3
    levels = frame_levels(tone, RATE)
    assert levels == pytest.approx(np.full(len(levels), -3.01), abs=0.02)
    assert len(levels) == 98


def test_settings_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="pause: found -1"):
        EnergyGate(pause=-1)


def test_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_gate("none") is None
    assert build_gate("energy") == EnergyGate()
    with pytest.raises(ValueError, match="'webrtc', allowed: none, energy, silero"):
        build_gate("webrtc")
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(ImportError, match=r"-e '.\[vad\]'"):
        build_gate("silero")


class TestSilero:
    @pytest.mark.skipif(not CORPORA.is_dir(), reason="real speech is not there: shared/corpora")
    def test_speech_is_told_from_noise(self) -> None:
        pytest.importorskip("silero_vad")
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        gate = SileroGate()
        assert torch.get_num_threads() == 2
        torch.set_num_threads(threads)
        clip = next(iter(sorted((CORPORA / "urdu").rglob("*.flac"))))
        speech = read_audio(clip).numpy()
        noise = 0.01 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
        samples = np.concatenate([noise, speech, noise])
        spans = gate(samples, RATE)
        assert spans
        assert min(start for start, _ in spans) > 2.8
        assert max(end for _, end in spans) < 3.5 + len(speech) / RATE
        # Asked again, it has forgotten the first time.
        assert gate(samples, RATE) == spans

    def test_a_threshold_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"threshold: found 1\.5"):
            SileroGate(1.5)
