# SPDX-License-Identifier: Apache-2.0
import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voxadapt.backbones import audio_file
from voxadapt.backbones.audio import read_audio
from voxadapt.backbones.audio_file import AudioError, open_audio

# What a library's callback raises ends up there: on a terminal it is a traceback.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


def write(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    random = np.random.default_rng(0)
    sound = random.uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)
    soundfile.write(path, sound, rate)
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def test_what_the_header_says(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 0.5, 8_000, 2)
    with open_audio(tmp_path / "a.wav") as audio:
        assert (audio.rate, audio.channels, audio.frames, audio.seconds) == (8_000, 2, 4_000, 0.5)
        assert (audio.container, audio.encoding) == ("WAV", "PCM_16")
        assert audio.name == str(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_blocks_are_the_whole_in_little_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write(tmp_path / name, 4, 16_000, 2)
    monkeypatch.setattr(audio_file, "_BLOCK_SAMPLES", 10_001)
    with open_audio(tmp_path / name) as audio:
        blocks = list(audio.blocks())
    assert max(map(len, blocks)) == 5_000
    np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_blocks_of_a_pure_tone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # At its low rate, each MP3 frame borrows much from the ones before: a seek would be heard.
    seconds = np.arange(80_000) / 16_000
    sound = 0.5 * np.sin(2 * np.pi * np.stack([440 * seconds, 700 * seconds], axis=1))
    soundfile.write(tmp_path / name, sound, 16_000)
    monkeypatch.setattr(audio_file, "_BLOCK_SAMPLES", 30_000)
    with open_audio(tmp_path / name) as audio:
        found = np.concatenate(list(audio.blocks()))
    whole = soundfile.read(tmp_path / name, dtype="float32")[0]
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_parts_of_several_blocks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / name, 6)
    monkeypatch.setattr(audio_file, "_BLOCK_SAMPLES", 7_000)
    with open_audio(tmp_path / name) as audio:
        part = np.concatenate(list(audio.blocks(3.5, 5.25)))
    np.testing.assert_allclose(part, whole[56_000:84_000], atol=1e-4)


def test_a_wav_that_was_cut_off_has_the_length_it_announces(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 2)
    os.truncate(tmp_path / "a.wav", 44 + 32_000)
    with open_audio(tmp_path / "a.wav") as audio:
        assert audio.seconds == 2
        assert len(np.concatenate(list(audio.blocks(0.25, 0.75)))) == 8_000  # which is there
        for part in [(None, None), (0.5, None), (0.5, 1.5), (1.25, 1.5)]:
            with pytest.raises(AudioError, match="cut off") as caught:
                list(audio.blocks(*part))
            assert caught.value.reason == "truncated"
        with pytest.raises(AudioError, match=r"the file has 2.000 s") as caught:
            list(audio.blocks(2.5, 3))
        assert caught.value.reason == "out of range"


def test_a_header_may_be_off_by_a_few_samples(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 2)
    os.truncate(tmp_path / "a.wav", 44 + 64_000 - 600)
    with open_audio(tmp_path / "a.wav") as audio:
        assert sum(map(len, audio.blocks())) == 31_700


@pytest.mark.parametrize("start", [1e300, 1e9, 2.0, math.nan, math.inf, -1.0])
def test_times_beyond_the_file(start: float, tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 2)
    with open_audio(tmp_path / "a.wav") as audio, pytest.raises(AudioError) as caught:
        list(audio.blocks(start, None))
    assert caught.value.reason == "out of range"


def test_the_name_plays_no_part(tmp_path: Path) -> None:
    write(tmp_path / "a.flac")
    for name in ("a.raw", "a.txt", "a"):  # libsndfile would take the first for samples
        (tmp_path / name).write_bytes((tmp_path / "a.flac").read_bytes())
        with open_audio(tmp_path / name) as audio:
            assert audio.container == "FLAC"
    (tmp_path / "b.raw").write_bytes(bytes(9_999))
    with pytest.raises(AudioError, match="Format not recognised"), open_audio(tmp_path / "b.raw"):
        pass


def test_a_header_that_makes_the_library_seek_below_zero() -> None:
    content = b"FORM\0\0\x17\x9eAIFFCOMM\0\0\0\x12\0\x01\0\0\x0b\xb8\0\x10"
    with pytest.raises(AudioError, match="cannot be decoded"), open_audio(content):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="a pipe or a device"), open_audio(tmp_path / "a.wav"):
        pass


def test_files_are_closed(tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(b"no audio")
    handles = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    for _ in range(9):
        with open_audio(tmp_path / "a.wav") as audio:
            next(iter(audio.blocks()))
        with pytest.raises(AudioError), open_audio(tmp_path / "b.wav"):
            pass
    if handles is not None:
        assert len(os.listdir("/proc/self/fd")) == handles


class Content:
    """Audio that lies in something else: `AudioContent`."""

    name = "box[3]"

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content

    def read(self) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def test_content_that_is_no_file_is_decoded_as_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.sin(np.arange(8_000) / 9) / 2, 16_000)
    whole, part = Content(path.read_bytes()), {"start": 0.1, "end": 0.3}
    assert torch.equal(read_audio(whole), read_audio(path))
    assert torch.equal(read_audio(whole, **part), read_audio(path, **part))
    with open_audio(whole) as audio:
        assert (audio.name, audio.seconds) == ("box[3]", 0.5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no audio at all", "unreadable"),
        (FileNotFoundError("gone"), "missing"),
        (OSError("another one by now"), "unreadable"),
    ],
)
def test_errors_name_the_content(content: bytes | Exception, reason: str) -> None:
    with pytest.raises(AudioError, match=r"box\[3\]") as raised:
        read_audio(Content(content))
    assert (raised.value.path, raised.value.reason) == ("box[3]", reason)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_parts_may_be_read_one_after_the_other(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000 * 8)
    soundfile.write(path, samples, 16_000, format=ending.upper())
    parts: list[tuple[float | None, float | None]] = [(None, None), (5.0, 6.0), (None, 2.0)]
    with open_audio(path) as audio:
        for part in [*parts, *parts]:
            with open_audio(path) as fresh:
                expected = np.concatenate(list(fresh.blocks(*part)))
            # Of an MP3 that is decoded again, the decoder rounds the last bit in another way.
            np.testing.assert_allclose(
                np.concatenate(list(audio.blocks(*part))), expected, atol=1e-6
            )
