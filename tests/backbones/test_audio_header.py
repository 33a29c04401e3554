# SPDX-License-Identifier: Apache-2.0
import io
import struct

import numpy as np
import pytest
import soundfile

from voxadapt.backbones.audio_header import AudioHeader, read_header

SOUND = 0.4 * np.sin(np.arange(16_000) / 9)


def cut_off(header: AudioHeader) -> bool:
    """Whether there is less than there should be."""
    announced = (header.announced_bytes or 0) > (header.present_bytes or 0)
    return announced or header.ended is False


def encode(container: str, **options: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, SOUND, 16_000, format=container, **options)
    return stream.getvalue()


def header_of(content: bytes) -> AudioHeader:
    return read_header(io.BytesIO(content))


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("WAV", {"subtype": "PCM_16"}),
        ("WAV", {"subtype": "PCM_16", "endian": "BIG"}),
        ("WAVEX", {"subtype": "PCM_16"}),
        ("RF64", {"subtype": "PCM_16"}),
        ("AIFF", {"subtype": "PCM_16"}),
        ("AU", {"subtype": "PCM_16"}),
    ],
)
def test_sizes_of_whole_and_cut_files(container: str, options: dict[str, str]) -> None:
    content = encode(container, **options)
    whole = header_of(content)
    assert whole.announced_bytes == whole.present_bytes
    assert whole.announced_bytes is not None
    assert whole.announced_bytes - 32_000 in (0, 8)  # AIFF counts two numbers before its samples
    assert not cut_off(whole)

    cut = header_of(content[:-10_000])
    assert cut.announced_bytes == whole.announced_bytes
    assert cut.present_bytes == whole.announced_bytes - 10_000
    assert cut_off(cut)


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0xFFFF_FFFF, 0xFFFF_FFFF - 44])
def test_sizes_of_streams_say_nothing(zoo, size: int) -> None:
    assert not cut_off(header_of(zoo.wave_bytes(SOUND, data=size)))
    assert header_of(zoo.wave_bytes(SOUND, data=size)).announced_bytes is None


def test_the_rate_that_bytes_a_second_imply(zoo) -> None:
    assert header_of(zoo.wave_bytes(SOUND)).implied_rate == 16_000
    assert header_of(zoo.wave_bytes(SOUND, byte_rate=88_200)).implied_rate == 44_100
    assert header_of(zoo.wave_bytes(SOUND, byte_rate=0)).implied_rate is None
    assert header_of(encode("WAV", subtype="MS_ADPCM")).implied_rate is None


def test_chunks_before_the_samples(zoo) -> None:
    before = zoo.chunk(b"LIST", b"odd") + zoo.chunk(b"junk", bytes(999))
    content = zoo.wave_bytes(SOUND, before=before)
    assert header_of(content).present_bytes == 32_000
    assert header_of(content[:-1_000]).present_bytes == 31_000


def test_an_ogg_stream_ends_with_a_whole_page() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(0).uniform(-1, 1, 48_000), 16_000, format="OGG")
    content = stream.getvalue()
    assert header_of(content).ended is True
    assert header_of(content + b"trailing words").ended is True
    for missing in (1, 100, len(content) // 2, len(content) - 30):
        assert header_of(content[:-missing]).ended is False
    assert header_of(b"OggS").ended is False


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"R",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + b"\1\0",
        b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + b"\1",
        b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 50_000,
        b"FORM\0\0\0\0AIFF",
        b".snd",
        b"fLaC" + bytes(99),
    ],
)
def test_garbage_says_nothing(content: bytes) -> None:
    assert not cut_off(header_of(content))
    assert header_of(content).announced_bytes is None
