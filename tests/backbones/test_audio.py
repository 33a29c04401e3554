# SPDX-License-Identifier: Apache-2.0
import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voxadapt.backbones.audio import AudioError, prepare_samples, read_audio


def tone(rate: int, seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def write(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def assert_is_tone(samples: torch.Tensor, *, seconds: float = 1.0, tolerance: float = 0.01) -> None:
    """Compare with the same tone made at 16 kHz, away from the ends where the resampler rings."""
    assert samples.dtype == torch.float32
    assert samples.ndim == 1
    assert abs(len(samples) - 16_000 * seconds) <= 1
    expected = torch.from_numpy(tone(16_000, seconds)).float()[200:-200]
    error = (samples[200 : 200 + len(expected)] - expected).abs().max()
    assert error < tolerance


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 11_025, 44_101])
def test_every_rate_becomes_16_khz(tmp_path, rate):
    assert_is_tone(read_audio(write(tmp_path / "a.wav", tone(rate), rate, "FLOAT")))


def test_rates_are_converted_per_file(tmp_path):
    first = read_audio(write(tmp_path / "a.wav", tone(8_000), 8_000))
    second = read_audio(write(tmp_path / "b.wav", tone(48_000), 48_000))
    assert len(first) == len(second) == 16_000


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 1e-3),
        ("a.wav", "PCM_24", 1e-3),
        ("a.wav", "PCM_32", 1e-3),
        ("a.wav", "PCM_U8", 0.02),
        ("a.wav", "FLOAT", 1e-3),
        ("a.wav", "DOUBLE", 1e-3),
        ("a.flac", "PCM_16", 1e-3),
        ("a.flac", "PCM_24", 1e-3),
        ("a.aiff", "PCM_16", 1e-3),
        ("a.ogg", "VORBIS", 0.05),
    ],
)
def test_formats(tmp_path, name, subtype, tolerance):
    path = write(tmp_path / name, tone(16_000), 16_000, subtype)
    assert_is_tone(read_audio(path), tolerance=tolerance)


def test_mp3(tmp_path):
    samples = read_audio(write(tmp_path / "a.mp3", tone(16_000), 16_000))
    # The codec may shift by its delay, so the spectrum is compared and not the samples.
    assert abs(len(samples) - 16_000) < 2_500
    spectrum = torch.fft.rfft(samples[4_000:12_000]).abs()
    assert spectrum.argmax() * 16_000 / 8_000 == pytest.approx(440, abs=2)
    assert samples[4_000:12_000].abs().max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_are_averaged(tmp_path, channels):
    parts = np.stack([tone(44_100) * gain for gain in (0.0, 2.0, 1.0)[:channels]], axis=1)
    samples = read_audio(write(tmp_path / "a.wav", parts, 44_100, "FLOAT"))
    assert_is_tone(samples)


def test_a_segment_is_the_same_as_cutting_by_hand(tmp_path):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    path = write(tmp_path / "a.wav", audio, 16_000, "FLOAT")
    samples = read_audio(path, start=0.5, end=1.25)
    torch.testing.assert_close(samples, torch.from_numpy(audio[8_000:20_000]).float())
    assert len(read_audio(path, start=2.0)) == 16_000
    assert len(read_audio(path, end=0.1)) == 1_600


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.flac"])
def test_a_segment_of_a_compressed_file_is_part_of_the_whole(tmp_path, name):
    # A tone takes so few bits that MP3 frames borrow from far back: after a bare seek it is silent.
    audio = np.concatenate([tone(16_000), np.zeros(32_000), tone(16_000, seconds=3)])
    path = write(tmp_path / name, audio, 16_000)
    whole = read_audio(path)
    for start in (0.0, 0.25, 3.2, 4.03, 5.5):
        samples = read_audio(path, start=start, end=start + 0.4)
        first = round(start * 16_000)
        torch.testing.assert_close(samples, whole[first : first + 6_400], atol=1e-4, rtol=0)


def test_only_the_part_asked_for_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", tone(16_000, seconds=20), 16_000)
    asked = []
    read = soundfile.SoundFile.read

    def counting_read(self, frames=-1, *args, **kwargs):
        asked.append(frames)
        return read(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting_read)
    read_audio(path, start=10.0, end=10.5)
    assert sum(asked) == 8_000


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg"])
def test_a_file_of_several_blocks_is_read_whole(tmp_path, monkeypatch, name):
    audio = np.stack([tone(16_000, seconds=5), tone(16_000, 5, frequency=700)], axis=1)
    path = write(tmp_path / name, audio, 16_000)
    monkeypatch.setattr("voxadapt.backbones.audio_file._BLOCK_SAMPLES", 30_001)
    expected = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    torch.testing.assert_close(read_audio(path), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_an_end_a_little_past_the_file_is_its_end(tmp_path):
    path = write(tmp_path / "a.wav", tone(16_000), 16_000)
    assert len(read_audio(path, start=0.5, end=1.015)) == 8_000


def test_bytes_and_strings(tmp_path):
    path = write(tmp_path / "a.flac", tone(16_000), 16_000)
    torch.testing.assert_close(read_audio(path.read_bytes()), read_audio(str(path)))


def reason(call) -> str:
    with pytest.raises(AudioError) as caught:
        call()
    assert caught.value.path in str(caught.value)
    return caught.value.reason


def test_reasons_of_files(tmp_path):
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "zero.wav").write_bytes(b"")
    audio = tone(16_000)
    nan, infinite = audio.copy(), audio.copy()
    nan[5], infinite[5] = math.nan, math.inf
    cases = {
        "missing": [tmp_path / "none.wav"],
        "unreadable": [tmp_path / "text.wav", tmp_path, b"RIFF no audio either", "a\0b.wav"],
        "empty": [
            tmp_path / "zero.wav",
            write(tmp_path / "no_samples.wav", np.zeros(0), 16_000),
            b"",
        ],
        "silent": [
            write(tmp_path / "zeros.wav", np.zeros(16_000), 16_000),
            write(tmp_path / "offset.wav", np.full(16_000, 0.25), 16_000),
            write(tmp_path / "opposed.wav", np.stack([audio, -audio], axis=1), 16_000, "FLOAT"),
        ],
        "not finite": [
            write(tmp_path / "nan.wav", nan, 16_000, "FLOAT"),
            write(tmp_path / "inf.wav", infinite, 16_000, "FLOAT"),
        ],
        "too short": [write(tmp_path / "short.wav", audio[:159], 16_000)],
        "out of range": [
            write(tmp_path / "loud.wav", audio * 1e29, 16_000, "FLOAT"),
            write(tmp_path / "slow.wav", audio, 1),
        ],
    }
    for expected, sources in cases.items():
        for source in sources:
            assert reason(lambda source=source: read_audio(source)) == expected, source


def test_opposed_channels_are_named(tmp_path):
    audio = tone(16_000)
    path = write(tmp_path / "a.wav", np.stack([audio, -audio], axis=1), 16_000, "FLOAT")
    with pytest.raises(AudioError, match="channels cancel out"):
        read_audio(path)


@pytest.mark.parametrize(
    ("start", "end"),
    [(-1, None), (0.5, 0.5), (0.6, 0.5), (1.0, None), (0.5, 1.5), (math.nan, 1), (0, math.inf)],
)
def test_segments_out_of_range(tmp_path, start, end):
    path = write(tmp_path / "a.wav", tone(16_000), 16_000)
    assert reason(lambda: read_audio(path, start=start, end=end)) == "out of range"


def test_a_clip_of_exactly_the_minimum_passes(tmp_path):
    path = write(tmp_path / "a.wav", tone(44_100, 0.01), 44_100)
    assert len(read_audio(path)) == 160
    assert reason(lambda: read_audio(path, minimum_seconds=0.02)) == "too short"


@pytest.mark.parametrize(("name", "expected"), [("a.mp3", "truncated"), ("a.flac", "unreadable")])
def test_a_cut_off_file_cannot_be_used(tmp_path, name, expected):
    path = write(tmp_path / name, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert reason(lambda: read_audio(path)) == expected


def test_a_flac_of_unknown_length_says_so(tmp_path):
    path = write(tmp_path / "a.flac", tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO's number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="how long it is") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("int8", 128, 0), ("int16", 32_768, 0), ("int32", 2_147_483_648, 0), ("uint8", 128, 128)],
)
def test_integers_are_scaled_by_their_type(dtype, scale, offset):
    audio = tone(16_000)
    integers = np.round(audio * (scale - 1) + offset).astype(dtype)
    assert_is_tone(prepare_samples(integers, 16_000), tolerance=1.5 / min(scale, 32_768) + 1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_and_tensors_give_what_a_file_gives(tmp_path, dtype):
    audio = np.stack([tone(44_100), tone(44_100, frequency=880)], axis=1).astype(dtype)
    path = write(tmp_path / "a.wav", audio.astype(np.float32), 44_100, "FLOAT")
    from_file = read_audio(path)
    torch.testing.assert_close(prepare_samples(audio.T, 44_100), from_file)
    torch.testing.assert_close(prepare_samples(torch.from_numpy(audio.T), 44_100), from_file)


def test_arrays_that_run_backwards_and_of_the_other_byte_order():
    audio = tone(16_000).astype(np.float32)
    expected = prepare_samples(audio[::-1].copy(), 16_000)
    assert torch.equal(prepare_samples(audio[::-1], 16_000), expected)
    swapped = audio.astype(audio.dtype.newbyteorder())
    assert torch.equal(prepare_samples(swapped, 16_000), prepare_samples(audio, 16_000))


def test_floats_above_one_are_kept():
    assert prepare_samples(tone(16_000) * 6, 16_000).abs().max() == pytest.approx(3, abs=1e-3)


def test_reasons_of_arrays():
    audio = tone(16_000)
    assert reason(lambda: prepare_samples(audio[:0], 16_000)) == "empty"
    assert reason(lambda: prepare_samples(audio[:100], 16_000, source="mine")) == "too short"
    assert reason(lambda: prepare_samples(audio * 0, 16_000)) == "silent"
    assert reason(lambda: prepare_samples(audio * math.nan, 16_000)) == "not finite"
    assert reason(lambda: prepare_samples(audio, 1)) == "out of range"
    assert reason(lambda: prepare_samples(np.stack([audio, -audio]), 16_000)) == "silent"


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((16_000, 2)),
        np.zeros((1, 2, 16_000)),
        np.zeros(16_000, dtype=np.int64),
        np.zeros(16_000, dtype=object),
        np.array(["a", "b"]),
    ],
)
def test_wrong_shapes_and_types_of_arrays(samples):
    with pytest.raises(ValueError, match=r"is needed|an array of float or integer") as caught:
        prepare_samples(samples, 16_000)
    assert not isinstance(caught.value, AudioError)


def test_bytes_of_a_wav_in_memory():
    stream = io.BytesIO()
    soundfile.write(stream, tone(22_050), 22_050, format="WAV")
    assert_is_tone(read_audio(stream.getvalue()))
