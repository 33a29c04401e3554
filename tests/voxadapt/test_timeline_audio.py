# SPDX-License-Identifier: Apache-2.0
"""Streams: in pieces, the samples that reading the whole file gives; and what is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from voxadapt import timeline_audio
from voxadapt.audio_source import NamedBytes
from voxadapt.backbones import AudioError, read_audio
from voxadapt.timeline_audio import open_stream


def write_noise(path: Path, rate: int, channels: int, seconds: float) -> Path:
    random = np.random.default_rng([rate, channels])
    samples = 0.1 * random.standard_normal((round(seconds * rate), channels))
    soundfile.write(path, samples, rate, subtype="PCM_16" if path.suffix != ".ogg" else None)
    return path


def pieces_of(source: Any) -> list[Tensor]:
    with open_stream(source) as stream:
        return list(stream.pieces)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 44_101, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_are_the_whole_file_bit_for_bit(rate: int, channels: int, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", rate, channels, 41.237)
    pieces = pieces_of(path)
    assert len(pieces) > 2
    assert torch.equal(torch.cat(pieces), read_audio(path))


@pytest.mark.parametrize("rate", [7_999, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("seconds", [0.02, 0.5, 9.99, 10.0, 20.0, 20.001])
def test_however_long_the_file_is(rate: int, seconds: float, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", rate, 1, seconds)
    assert torch.equal(torch.cat(pieces_of(path)), read_audio(path))


@pytest.mark.parametrize("block", [1 << 20, 10_007, 333])
def test_the_decoders_blocks_do_not_matter(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_noise(tmp_path / "noise.wav", 22_050, 2, 25.0)
    expected = read_audio(path)
    monkeypatch.setattr("voxadapt.backbones.audio_file._BLOCK_SAMPLES", block)
    assert torch.equal(torch.cat(pieces_of(path)), expected)


@pytest.mark.parametrize("ending", [".flac", ".ogg", ".mp3"])
def test_other_containers(ending: str, tmp_path: Path) -> None:
    path = write_noise(tmp_path / f"noise{ending}", 44_100, 2, 23.0) if ending != ".mp3" else None
    if path is None:
        path = tmp_path / "noise.mp3"
        random = np.random.default_rng(0)
        soundfile.write(path, 0.1 * random.standard_normal((44_100 * 23, 2)), 44_100, format="MP3")
    assert torch.equal(torch.cat(pieces_of(path)), read_audio(path))


def test_bytes_and_samples(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", 8_000, 1, 3.0)
    expected = read_audio(path)
    assert torch.equal(torch.cat(pieces_of(path.read_bytes())), expected)
    assert torch.equal(torch.cat(pieces_of(NamedBytes("upload", path.read_bytes()))), expected)
    samples, rate = soundfile.read(path, dtype="float32")
    assert torch.equal(torch.cat(pieces_of((samples, rate))), expected)
    with open_stream(samples, rate) as stream:
        assert stream.seconds == pytest.approx(3.0)
        assert torch.equal(torch.cat(list(stream.pieces)), expected)
    with pytest.raises(ValueError, match="sample_rate"), open_stream(path, 8_000):
        pass


def test_a_file_in_every_form_is_read_in_pieces_and_has_its_name(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", 8_000, 2, 41.0)
    expected, content = read_audio(path), path.read_bytes()
    with path.open("rb") as opened:
        forms: list[tuple[Any, str]] = [
            (path, str(path)),
            ({"path": str(path), "bytes": None}, str(path)),
            (opened, str(path)),
            (io.BytesIO(content), "<file>"),
            (bytearray(content), "<bytes>"),
            ({"bytes": content, "path": None}, "<bytes>"),
        ]
        for form, name in forms:
            with open_stream(form) as stream:
                pieces = list(stream.pieces)
                assert (stream.name, stream.seconds) == (name, 41.0)
            assert len(pieces) > 2
            assert torch.equal(torch.cat(pieces), expected)
    with pytest.raises(TypeError, match="audio: found int"), open_stream(3):  # type: ignore[arg-type]
        pass


def test_no_more_than_some_pieces_are_held(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", 16_000, 1, 95.0)
    with open_stream(path) as stream:
        lengths = [len(piece) / 16_000 for piece in stream.pieces]
    assert max(lengths[:-1]) == 10.0
    assert 10.0 <= lengths[-1] < 20.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_named_with_its_place(value: float, tmp_path: Path) -> None:
    samples = np.full((16_000 * 30, 2), 0.1, dtype=np.float32)
    samples[::2] = -0.1
    samples[16_000 * 25, 1] = value
    soundfile.write(tmp_path / "bad.wav", samples, 16_000, subtype="FLOAT")
    with open_stream(tmp_path / "bad.wav") as stream, pytest.raises(AudioError) as raised:
        list(stream.pieces)
    assert raised.value.reason == "not finite"
    assert "bad.wav" in str(raised.value)
    assert "25.000 s" in str(raised.value)


def reason_of(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except AudioError as error:
        return error.reason
    return "fine"


def test_the_zoo_is_judged_as_by_read_audio(animals: dict[str, Any]) -> None:
    judged = {name: reason_of(pieces_of, animal.path) for name, animal in animals.items()}
    expected = {name: reason_of(read_audio, animal.path) for name, animal in animals.items()}
    assert judged == expected
    assert set(judged.values()) > {"fine", "empty", "silent", "not finite", "truncated"}


def test_what_was_cut_off_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", 16_000, 1, 30.0)
    path.write_bytes(path.read_bytes()[:-320_000])
    with pytest.raises(AudioError, match=r"20\.000 of the 30\.000 s") as raised, open_stream(path):
        pass
    assert raised.value.reason == "truncated"


def test_a_shorter_piece_than_the_converter_wants_is_not_cut(tmp_path: Path) -> None:
    # 64 blocks of 44,101 to 16,000 are longer than a short piece would be.
    assert timeline_audio._ALIGNMENT > 1
    path = write_noise(tmp_path / "noise.wav", 47_999, 1, 33.0)
    assert torch.equal(torch.cat(pieces_of(path)), read_audio(path))
