# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT017 (whether reading raises is what is asked)
"""Whatever bytes a file holds, reading it gives samples or an error of ours that names it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxadapt.backbones.audio import AudioError, audio_seconds, prepare_samples, read_audio
from voxadapt.recipes.corpora.audio_quality import measure_clip
from voxadapt.recipes.corpora.clip import Clip

# What a library's callback raises ends up there: on a terminal it is a traceback.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")

FORMATS = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
)


def encode(container: str, encoding: str, channels: int) -> bytes:
    stream = io.BytesIO()
    sound = 0.3 * np.sin(np.arange(3_000)[:, None] / (9 + np.arange(channels)))
    soundfile.write(stream, sound, 16_000, format=container, subtype=encoding)
    return stream.getvalue()


WHOLE = [encode(*form, channels) for form in FORMATS for channels in (1, 2)]
REASONS = {
    "unreadable",
    "truncated",
    "empty",
    "silent",
    "not finite",
    "too short",
    "out of range",
}


@st.composite
def damaged_files(draw: Callable[..., Any]) -> bytes:
    """A valid file with a few bytes changed, most of them in its header, some put in, and cut."""
    content = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 6))):
        reach = draw(st.sampled_from([16, 64, 256, len(content)]))
        place = draw(st.integers(0, min(reach, len(content)) - 1))
        put = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(EXTREMES)))
        taken = draw(st.sampled_from([len(put), len(put), 0, 4]))
        content[place : place + taken] = put
    if draw(st.booleans()):
        content = content[: draw(st.integers(1, len(content)))]
    return bytes(content)


EXTREMES = [b"\0" * 4, b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\xff" * 3 + b"\x7f", b"\x80\0\0\0"]
TIMES = st.none() | st.floats() | st.sampled_from([0.0, 0.01, 0.1, 0.187, 0.2, 1e9, 1e300])


def check(source: bytes | Path, start: float | None = None, end: float | None = None) -> None:
    name = "<bytes>" if isinstance(source, bytes) else str(source)
    try:
        samples = read_audio(source, start=start, end=end)
    except AudioError as error:
        assert error.reason in REASONS
        assert name in str(error)
        return
    assert samples.dtype == torch.float32
    assert samples.ndim == 1
    assert len(samples) >= 160
    assert bool(torch.isfinite(samples).all())


def check_everywhere(
    path: Path, content: bytes, start: float | None = None, end: float | None = None
) -> None:
    """The same content as bytes, as a file, measured by `check-data`, and by its length alone."""
    path.write_bytes(content)
    if content:
        check(content, start, end)
    check(path, start, end)
    quality = measure_clip(Clip("it", path, start, end))
    assert quality.problem is None or quality.problem[0] in REASONS
    usable = quality.problem is None
    try:
        read_audio(path, start=start, end=end)
    except AudioError:
        assert not usable
    else:
        assert usable
    try:
        assert audio_seconds(path) >= 0
    except AudioError as error:
        assert str(path) in str(error)


def fuzz(examples: int, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    limits = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )

    @limits
    @given(damaged_files())
    def mutated(content: bytes) -> None:
        check_everywhere(path, content)

    @limits
    @given(damaged_files(), TIMES, TIMES)
    def parts(content: bytes, start: float | None, end: float | None) -> None:
        check_everywhere(path, content, start, end)

    @limits
    @given(st.binary(max_size=4_000))
    def arbitrary(content: bytes) -> None:
        check_everywhere(path, content)

    @limits
    @given(st.sampled_from(FORMATS), st.integers(0, 999), st.binary(max_size=400))
    def cut(form: tuple[str, str], share: int, tail: bytes) -> None:
        content = encode(*form, 1)
        check_everywhere(path, content[: len(content) * share // 1_000] + tail)

    for test in (mutated, parts, arbitrary, cut):
        test()
    assert "Traceback" not in capfd.readouterr().err


def test_no_bytes_give_another_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(60, tmp_path / "a.wav", capfd)


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_no_bytes_give_another_error_often(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fuzz(4_000, tmp_path / "a.wav", capfd)


@settings(max_examples=60, database=None, deadline=None, derandomize=True)
@given(
    st.sampled_from([np.float16, np.float32, np.float64, np.int16, np.int32, np.uint8, np.int8]),
    st.lists(st.integers(0, 400), max_size=1) | st.lists(st.integers(0, 80), max_size=3),
    st.sampled_from([-(2**70), -1, 0, 1, 2_000, 16_000, 44_100, 768_000, 2**70]),
    st.sampled_from([0.0, 0.5, 1e29, 1e300, np.nan, np.inf]),
)
def test_arrays_give_samples_or_our_errors(
    kind: Any, shape: list[int], rate: int, scale: float
) -> None:
    with np.errstate(all="ignore"):
        array = (np.resize(np.sin(np.arange(4_000) / 9), shape) * scale).astype(kind)
    try:
        samples = prepare_samples(array, rate)
    except ValueError as error:  # AudioError is one
        assert str(error).startswith("samples has") or "samples" in str(error)
    else:
        assert samples.dtype == torch.float32
        assert samples.ndim == 1
        assert bool(torch.isfinite(samples).all())
