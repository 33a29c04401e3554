# SPDX-License-Identifier: Apache-2.0
"""A model over a long recording: each window is what `predict` says of the same samples."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from voxadapt import SpeechClassifier
from voxadapt.adapters import FeatureStandardizer
from voxadapt.backbones import AudioError, load_backbone, read_audio
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs
from voxadapt.pooling import build_pooler
from voxadapt.timeline import Timeline
from voxadapt.timeline_gates import EnergyGate
from voxadapt.timeline_prediction import TimelineSettings

RATE = 16_000
COLUMNS = LabelOutputs(
    {"emotion": ["angry", "sad", "calm"], "speaker": ["s1", "s2"]}, {"emotion": 2.0}
)
VALUES = ValueOutputs(["arousal", "valence"], [0.5, 2.0], [1.0, 3.0])


def build_model(outputs: Outputs, backbone: str = "fbank") -> SpeechClassifier:
    encoder = load_backbone(backbone)
    torch.manual_seed(0)
    size = encoder.spec.feature_size
    head = FrameClassifier(FeatureStandardizer(size), build_pooler("sap", size), outputs.size)
    torch.nn.init.normal_(head.linear.weight, std=0.05)
    return SpeechClassifier(encoder, head, outputs).eval()


@pytest.fixture(scope="module")
def model() -> SpeechClassifier:
    return build_model(COLUMNS)


def changing_sound(seconds: float, rate: int = RATE, quiet: tuple[float, float] = (0, 0)) -> Any:
    """A tone whose pitch and loudness wander, so that windows differ; silent in `quiet`."""
    times = np.arange(round(seconds * rate)) / rate
    pitch = np.cumsum(300 + 200 * np.sin(times) + 100 * np.sin(0.37 * times)) / rate
    samples = (0.3 + 0.2 * np.sin(0.61 * times)) * np.sin(2 * np.pi * pitch)
    samples[round(quiet[0] * rate) : round(quiet[1] * rate)] = 0
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25.3 s, stereo, 22,050 Hz."""
    path = tmp_path_factory.mktemp("recording") / "long.wav"
    left = changing_sound(25.3, 22_050)
    soundfile.write(path, np.stack([left, 0.5 * left], axis=1), 22_050)
    return path


def numbers(prediction: Any) -> list[float]:
    columns = [share for shares in prediction.columns.values() for share in shares.values()]
    return columns or list(prediction.values.values())


@pytest.mark.parametrize("outputs", [COLUMNS, VALUES], ids=["labels", "values"])
def test_a_window_is_what_predict_says_of_the_same_samples(
    outputs: Outputs, recording: Path
) -> None:
    model = build_model(outputs)
    timeline = model.timeline(recording, window=2.5, hop=0.7, smooth=0)
    whole = read_audio(recording)
    assert timeline.seconds == len(whole) / RATE
    assert len(timeline) == 34
    for (start, end), row in zip(timeline.times, timeline.raw, strict=True):
        samples = whole[round(start * RATE) : round(end * RATE)]
        assert len(samples) == 2.5 * RATE
        expected = numbers(model.predict(samples, RATE))
        np.testing.assert_allclose(row, expected, atol=2e-5)
    assert timeline.times[-1, 1] == timeline.seconds
    assert np.array_equal(timeline.smoothed, timeline.raw)
    assert timeline.raw.std(axis=0).max() > 0.01  # windows differ


@pytest.mark.parametrize("batch_seconds", [0.1, 7.0, 1_000.0, 1e308])
def test_the_batch_changes_nothing(
    batch_seconds: float, model: SpeechClassifier, recording: Path
) -> None:
    expected = model.timeline(recording, hop=0.5)
    found = model.timeline(recording, hop=0.5, batch_seconds=batch_seconds)
    np.testing.assert_allclose(found.raw, expected.raw, atol=1e-5)
    assert np.array_equal(found.stretches, expected.stretches)


def test_an_encoder_that_normalises_each_clip(recording: Path, hubert_folder: Path) -> None:
    model = build_model(COLUMNS, str(hubert_folder))
    timeline = model.timeline(recording, window=1.5, hop=1.5, smooth=0)
    whole = read_audio(recording)
    for place in (0, 7, len(timeline) - 1):
        start, end = (round(time * RATE) for time in timeline.times[place])
        expected = numbers(model.predict(whole[start:end], RATE))
        np.testing.assert_allclose(timeline.raw[place], expected, atol=1e-4)


def test_a_file_shorter_than_a_window_is_one_window(
    model: SpeechClassifier, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "short.wav", changing_sound(0.8), RATE)
    timeline = model.timeline(tmp_path / "short.wav")
    assert timeline.times.tolist() == timeline.stretches.tolist() == [[0.0, 0.8]]
    expected = numbers(model.predict(tmp_path / "short.wav"))
    np.testing.assert_allclose(timeline.smoothed[0], expected, atol=1e-5)
    assert numbers(timeline.overall()) == pytest.approx(expected, abs=1e-5)
    assert timeline.latency == pytest.approx((0.8 + 3) / 2)


def test_paths_bytes_and_samples_say_the_same(model: SpeechClassifier, recording: Path) -> None:
    expected = model.timeline(recording)
    samples, rate = soundfile.read(recording, dtype="float32")
    for found in (
        model.timeline(recording.read_bytes()),
        model.timeline(io.BytesIO(recording.read_bytes())),
        model.timeline(samples.T, rate),
    ):
        np.testing.assert_allclose(found.raw, expected.raw, atol=1e-5)
    assert expected.name == str(recording)


def test_the_smoothed_are_means_of_the_raw(model: SpeechClassifier, recording: Path) -> None:
    timeline = model.timeline(recording, window=2, hop=1)
    assert timeline.smooth == 2
    # Windows in the middle all stand for a second: their two neighbours are in the mean.
    np.testing.assert_allclose(timeline.smoothed[5], timeline.raw[4:7].mean(axis=0), atol=1e-6)
    assert timeline.latency == 2
    assert np.abs(timeline.smoothed - timeline.raw).max() > 1e-4
    assert timeline.smoothed[:, :3].sum(axis=1) == pytest.approx(np.ones(len(timeline)), abs=1e-5)


def test_digital_silence_has_no_label_and_the_rest_does(
    model: SpeechClassifier, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "gap.wav", changing_sound(30, quiet=(10, 18)), RATE)
    timeline = model.timeline(tmp_path / "gap.wav", window=2, hop=1)
    silent = (timeline.times[:, 0] >= 10) & (timeline.times[:, 1] <= 18)
    assert silent.sum() == 7
    assert np.array_equal(timeline.heard, ~silent)
    assert np.array_equal(timeline.speech_share, (~silent).astype(float))
    assert timeline.overall().speech_seconds == pytest.approx(30 - 7)
    assert timeline.speech is None


def test_a_gate_says_what_the_model_is_asked(
    model: SpeechClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = 1e-4 * np.random.default_rng(0).standard_normal(70 * RATE)
    samples = noise + changing_sound(70, quiet=(20, 50))
    soundfile.write(tmp_path / "pause.wav", samples, RATE)
    asked: list[int] = []
    encode = type(model.backbone).forward
    monkeypatch.setattr(
        type(model.backbone),
        "forward",
        lambda self, waves, mask: asked.append(len(waves)) or encode(self, waves, mask),
    )
    timeline = model.timeline(tmp_path / "pause.wav", vad=EnergyGate())
    assert timeline.speech == [
        pytest.approx((0, 20.1), abs=0.05),
        pytest.approx((49.9, 70), abs=0.05),
    ]
    middles = timeline.stretches.mean(axis=1)
    assert np.array_equal(timeline.heard, (middles < 20.1) | (middles > 49.9))
    assert sum(asked) == timeline.heard.sum() == 38  # the first and last stand for 2 s
    assert timeline.overall().speech_seconds == pytest.approx(40.2, abs=0.1)
    for segment in timeline.segments():
        assert segment.end < 20.2 or segment.start > 49.8


def test_too_little_speech_is_not_asked_about(model: SpeechClassifier) -> None:
    def gate(samples: np.ndarray, rate: int) -> list[tuple[float, float]]:
        return [(0.0, 0.4), (5.2, 5.5)]

    sound = changing_sound(12)
    found = model.timeline(sound, RATE, window=1, hop=1, vad=gate)
    assert np.flatnonzero(found.heard).tolist() == [0, 5]
    assert found.speech_share[[0, 5]] == pytest.approx([0.4, 0.3])
    stricter = model.timeline(sound, RATE, window=1, hop=1, vad=gate, min_speech=0.35)
    assert np.flatnonzero(stricter.heard).tolist() == [0]
    nothing = model.timeline(sound, RATE, vad=lambda samples, rate: [])
    assert not nothing.heard.any()
    assert nothing.segments() == []
    assert nothing.overall().label is None
    assert nothing.overall().speech_seconds == 0


def test_allowed_labels(model: SpeechClassifier, recording: Path) -> None:
    timeline = model.timeline(recording, allowed_labels=["sad", "calm"])
    assert timeline.columns == {"emotion": ["sad", "calm"], "speaker": ["s1", "s2"]}
    assert timeline.raw.shape[1] == 4
    assert {segment.label for segment in timeline.segments()} <= {"sad", "calm"}
    with pytest.raises(ValueError, match="'sadd'"):
        model.timeline(recording, allowed_labels=["sadd"])


def test_progress_rises_to_the_end_and_can_stop_the_work(
    model: SpeechClassifier, recording: Path
) -> None:
    told: list[tuple[float, float]] = []
    model.timeline(recording, batch_seconds=9, progress=lambda *now: told.append(now))
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert len(done) > 5
    assert done[-1] == pytest.approx(25.3, abs=1e-3)
    assert {round(of, 2) for _, of in told} == {25.3}

    def stop(done: float, of: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.timeline(recording, progress=stop)


def test_the_envelope_is_the_highest_amplitude(model: SpeechClassifier) -> None:
    sound = changing_sound(12.33)
    envelope = model.timeline(sound, RATE).envelope
    assert len(envelope) == 247
    assert envelope[3] == np.abs(sound[2_400:3_200]).max()
    assert envelope[-1] == np.abs(sound[246 * 800 :]).max()


def test_the_model_stays_as_it_was(model: SpeechClassifier, recording: Path) -> None:
    model.train()
    expected: Timeline = model.timeline(recording)
    assert model.training
    model.eval()
    assert np.array_equal(model.timeline(recording).raw, expected.raw)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window: found 0 s"),
        ({"window": float("inf")}, "window: found inf"),
        ({"hop": 0}, "hop: found 0"),
        ({"hop": 3.1}, "at most the window of 3.0 s"),
        ({"hop": 1e-6}, "at least one sample"),
        ({"smooth": -1}, "smooth: found -1"),
        ({"smooth": float("nan")}, "smooth: found nan"),
        ({"min_speech": 0}, "min_speech: found 0"),
        ({"min_speech": 1.1}, "min_speech: found 1.1"),
        ({"vad": "energy"}, "vad: found 'energy', give a callable"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimelineSettings(**settings)


def test_a_window_must_fill_a_frame(model: SpeechClassifier, recording: Path) -> None:
    with pytest.raises(
        ValueError, match=r"window: found 0.03 s, but one frame of fbank needs 0.035"
    ):
        model.timeline(recording, window=0.03, hop=0.03)
    assert model.timeline(recording, window=0.035, hop=0.035, smooth=0).heard.all()
    with pytest.raises(ValueError, match="batch_seconds: found 0"):
        model.timeline(recording, batch_seconds=0)


def test_audio_that_cannot_be_used(model: SpeechClassifier, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE * 5), RATE)
    with pytest.raises(AudioError, match="silent") as raised:
        model.timeline(tmp_path / "silent.wav", vad=EnergyGate())
    assert raised.value.reason == "silent"
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(AudioError, match="no samples"):
        model.timeline(tmp_path / "empty.wav")
    with pytest.raises(AudioError, match="does not exist"):
        model.timeline(tmp_path / "nowhere.wav")
