# SPDX-License-Identifier: Apache-2.0
"""Audio files of every kind that people have, and of every kind that they should not have.

All hold half a second of a 440 Hz tone at half of full scale, or are wrong in one way.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

SECONDS, PITCH, LEVEL = 0.5, 440.0, 0.5
RATES = (4_000, 8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)
NAMES = {
    "spaces": "a clip  with spaces .wav",
    "quotes": """it's a "clip".wav""",
    "comma": "one, two; three.wav",
    "emoji": "😀 Größe 音声.wav",
    "line break": "two\nlines.wav",
    "dash": "-rf --help.wav",
    "braces": "%s {0} $HOME [bold].wav",
    "backslash": "a\\b.wav",
    "long": "x" * 240 + ".wav",
    "capital": "CLIP.WAV",
}


@dataclass(frozen=True)
class Animal:
    """One file.

    Attributes:
        path: Where it is.
        reasons: What `AudioError.reason` may be; empty where the tone must come out.
        tolerance: How far the samples may be from the tone; of lossy formats they may also be late.
        late: Samples at 16 kHz that they may be late by.
    """

    path: Path
    reasons: tuple[str, ...] = ()
    tolerance: float = 0.01
    late: int = 0


def tone(rate: int, seconds: float = SECONDS) -> np.ndarray:
    """The tone, ``[S]``."""
    return LEVEL * np.sin(2 * np.pi * PITCH * np.arange(round(rate * seconds)) / rate)


def wave_bytes(
    samples: np.ndarray,
    rate: int = 16_000,
    *,
    before: bytes = b"",
    after: bytes = b"",
    **sizes: int,
) -> bytes:
    """A 16-bit WAV with chunks of one's own, and sizes that may be wrong.

    Args:
        samples: ``[S]`` in -1..1.
        rate: Hz.
        before: Chunks between `fmt ` and `data`.
        after: Chunks after `data`.
        **sizes: ``data`` and ``riff`` to announce, ``byte_rate``.
    """
    data = np.round(samples * 32_767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, rate, sizes.get("byte_rate", 2 * rate), 2, 16)
    body = b"WAVE" + chunk(b"fmt ", form) + before
    body += b"data" + struct.pack("<I", sizes.get("data", len(data))) + data + after
    return b"RIFF" + struct.pack("<I", sizes.get("riff", len(body))) + body


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk, padded to an even number of bytes."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def build_zoo(folder: Path) -> dict[str, Animal]:
    """Write all files, into a folder of the two classes ``good`` and ``bad``.

    Args:
        folder: An empty folder.

    Returns:
        By a name that says what is special about it.
    """
    good, bad = folder / "good", folder / "bad"
    good.mkdir()
    bad.mkdir()
    animals = {**_encodings(good), **_containers(good), **_names(good), **_chunks(good)}
    animals |= {**_damaged(bad), **_wrong_samples(bad), **_no_files(bad)}
    return animals


def _encodings(folder: Path) -> dict[str, Animal]:
    animals = {}
    for encoding, tolerance in {
        "PCM_U8": 0.02,
        "PCM_16": 0.001,
        "PCM_24": 0.001,
        "PCM_32": 0.001,
        "FLOAT": 0.001,
        "DOUBLE": 0.001,
        "ULAW": 0.03,
        "ALAW": 0.03,
        "MS_ADPCM": 0.05,
    }.items():
        path = folder / f"{encoding.lower()}.wav"
        soundfile.write(path, tone(16_000), 16_000, subtype=encoding)
        padding = 200 if encoding == "MS_ADPCM" else 0  # it fills its last block
        animals[f"wav {encoding}"] = Animal(path, tolerance=tolerance, late=padding)
    for channels in range(1, 9):
        path = folder / f"{channels}_channels.wav"
        soundfile.write(path, np.stack([tone(16_000)] * channels, axis=1), 16_000)
        animals[f"{channels} channels"] = Animal(path)
    for rate in RATES:
        path = folder / f"{rate}_hz.wav"
        soundfile.write(path, tone(rate), rate)
        animals[f"{rate} Hz"] = Animal(path)
    return animals


def _containers(folder: Path) -> dict[str, Animal]:
    animals = {}
    plain = [("flac", "FLAC", "PCM_16"), ("flac", "FLAC", "PCM_24"), ("aiff", "AIFF", "PCM_16")]
    plain += [("aif", "AIFF", "PCM_24"), ("wav", "WAVEX", "PCM_16"), ("wav", "RF64", "PCM_16")]
    plain += [("wav", "AU", "PCM_16"), ("wav", "CAF", "PCM_16"), ("wav", "W64", "PCM_16")]
    for ending, container, encoding in plain:
        path = folder / f"{container}_{encoding}.{ending}".lower()
        soundfile.write(path, tone(16_000), 16_000, format=container, subtype=encoding)
        animals[f"{container} {encoding}"] = Animal(path)
    for ending, endian in (("wav", "BIG"), ("aiff", "LITTLE")):
        path = folder / f"{endian.lower()}_endian.{ending}"
        soundfile.write(path, tone(16_000), 16_000, endian=endian)
        animals[f"{endian} endian {ending}"] = Animal(path)
    for ending, rate in (("ogg", 16_000), ("ogg", 48_000), ("mp3", 16_000), ("mp3", 44_100)):
        path = folder / f"{rate}.{ending}"
        soundfile.write(path, tone(rate), rate)
        animals[f"{ending} {rate}"] = Animal(path, tolerance=0.05, late=2_500)
    for name, source in (("flac.wav", "flac_pcm_16.flac"), ("wav.flac", "pcm_16.wav")):
        path = folder / f"is_{name}"
        path.write_bytes((folder / source).read_bytes())
        animals[f"wrong extension {name}"] = Animal(path)
    path = folder / "is_mp3.ogg"
    path.write_bytes((folder / "16000.mp3").read_bytes())
    animals["wrong extension mp3.ogg"] = Animal(path, tolerance=0.05, late=2_500)
    return animals


def _names(folder: Path) -> dict[str, Animal]:
    animals = {}
    content = wave_bytes(tone(16_000))
    for what, name in NAMES.items():
        (folder / name).write_bytes(content)
        animals[f"name with {what}"] = Animal(folder / name)
    try:
        path = folder / os.fsdecode(b"caf\xe9 \xff\xfe.wav")
        path.write_bytes(content)
        animals["name not UTF-8"] = Animal(path)
    except (OSError, UnicodeError):  # a system whose names are all UTF-8
        pass
    link = folder / "link.wav"
    link.symlink_to("pcm_16.wav")
    animals["link"] = Animal(link)
    return animals


def _chunks(folder: Path) -> dict[str, Animal]:
    sound = tone(16_000)
    odd = chunk(b"LIST", b"INFOodd") + chunk(b"junk", b"\xff" * 333) + chunk(b"id3 ", b"ID3" * 9)
    contents = {
        "odd chunks before": wave_bytes(sound, before=odd),
        "odd chunks after": wave_bytes(sound, after=odd),
        "a chunk after that is cut": wave_bytes(sound, after=chunk(b"LIST", b"x" * 99)[:50]),
        "unknown data size": wave_bytes(sound, data=0xFFFF_FFFF, riff=0xFFFF_FFFF),
        "sox's unknown size": wave_bytes(sound, data=0x7FFF_F000, riff=0x7FFF_F024),
        "RIFF size 0": wave_bytes(sound, riff=0),
        "wrong byte rate": wave_bytes(sound, byte_rate=8_000),
    }
    animals = {}
    for number, (what, content) in enumerate(contents.items()):
        path = folder / f"chunks_{number}.wav"
        path.write_bytes(content)
        animals[what] = Animal(path)
    return animals


def _damaged(folder: Path) -> dict[str, Animal]:
    """Files that were cut off, or were never audio."""
    content = wave_bytes(tone(16_000))
    damaged: dict[str, tuple[bytes, tuple[str, ...]]] = {
        "zero_bytes.wav": (b"", ("empty",)),
        "zero_bytes.mp3": (b"", ("empty",)),
        "one_byte.wav": (b"R", ("unreadable",)),
        "header_only.wav": (content[:44], ("empty", "truncated")),
        "half_a_header.wav": (content[:20], ("unreadable",)),
        "no_samples.wav": (wave_bytes(np.zeros(0)), ("empty",)),
        "truncated.wav": (content[: len(content) // 2], ("truncated",)),
        "text.wav": (b"Dear Sir or Madam,\n" * 99, ("unreadable",)),
        "page.mp3": (b"<html><body>404 Not Found</body></html>" * 9, ("unreadable",)),
        "zeros.flac": (bytes(9_999), ("unreadable",)),
        "pdf.wav": (b"%PDF-1.7\n" + bytes(range(256)) * 9, ("unreadable",)),
    }
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    for ending in ("aiff", "flac", "ogg", "mp3"):
        path = folder / f"truncated.{ending}"
        soundfile.write(path, noise, 16_000)
        whole = path.read_bytes()
        damaged[path.name] = (whole[: len(whole) // 2], ("truncated", "unreadable"))
    for name, (data, _) in damaged.items():
        (folder / name).write_bytes(data)
    return {name: Animal(folder / name, reasons) for name, (_, reasons) in damaged.items()}


def _wrong_samples(folder: Path) -> dict[str, Animal]:
    sound = tone(16_000)
    with_nan, with_infinity = sound.copy(), sound.copy()
    with_nan[100], with_infinity[100] = np.nan, np.inf
    wrong: dict[str, tuple[np.ndarray, int, str]] = {
        "all_zeros": (np.zeros(8_000), 16_000, "silent"),
        "constant": (np.full(8_000, 0.3), 16_000, "silent"),
        "opposed": (np.stack([sound, -sound], axis=1), 16_000, "silent"),
        "one_sample": (sound[1:2], 16_000, "too short"),
        "1e29": (sound * 1e29, 16_000, "out of range"),
        "nan": (with_nan, 16_000, "not finite"),
        "infinite": (with_infinity, 16_000, "not finite"),
        "only_nan": (np.full((8_000, 2), np.nan), 16_000, "not finite"),
        "1_hz": (sound, 1, "out of range"),
        "2_ghz": (sound, 2_000_000_000, "out of range"),
    }
    animals = {}
    for name, (samples, rate, reason) in wrong.items():
        path = folder / f"{name}.wav"
        soundfile.write(path, samples.astype(np.float32), rate, subtype="FLOAT")
        animals[name] = Animal(path, (reason,))
    return animals


def _no_files(folder: Path) -> dict[str, Animal]:
    """Names that lead to no regular file."""
    makers: dict[str, tuple[Callable[[Path], object], str]] = {
        "loop": (lambda path: path.symlink_to(path.name), "unreadable"),
        "dangling": (lambda path: path.symlink_to("nowhere.wav"), "missing"),
    }
    if hasattr(os, "mkfifo"):
        makers["pipe"] = (os.mkfifo, "unreadable")
    animals = {}
    for name, (make, reason) in makers.items():
        make(folder / f"{name}.wav")
        animals[name] = Animal(folder / f"{name}.wav", (reason,))
    (folder / "back").symlink_to("..")  # a folder that holds itself
    return animals


def check_tone(samples: np.ndarray, animal: Animal) -> None:
    """Compare samples ``[S]`` at 16 kHz with the tone, away from the ends where resamplers ring.

    Raises:
        AssertionError: They are another sound.
    """
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16_000 * SECONDS) <= max(2, animal.late)
    expected = tone(16_000)[400:-400]
    heard = [
        samples[400 + late : 400 + late + len(expected)]
        for late in range(max(1, min(animal.late, len(samples) - 800)))
    ]
    whole = [part for part in heard if len(part) >= len(expected) // 2]
    errors = [np.abs(part - expected[: len(part)]).max() for part in whole]
    assert min(errors) < animal.tolerance, (animal.path, min(errors))
