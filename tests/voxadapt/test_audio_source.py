# SPDX-License-Identifier: Apache-2.0
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from voxadapt.audio_source import is_pair, read_source
from voxadapt.backbones import AudioError

TONE = np.sin(np.arange(8_000) / 10).astype(np.float32)


@pytest.fixture
def path(corpus: Path) -> Path:
    return min(corpus.parent.glob("*.wav"))


def test_a_file_in_every_form_is_the_same(path: Path) -> None:
    expected = read_source(path)
    assert expected.ndim == 1
    content = path.read_bytes()
    for form in (str(path), content, bytearray(content), memoryview(content), io.BytesIO(content)):
        assert torch.equal(read_source(form), expected)
    with path.open("rb") as stream:
        assert torch.equal(read_source(stream), expected)
    assert torch.equal(read_source({"bytes": content, "path": None}), expected)
    assert torch.equal(read_source({"bytes": None, "path": str(path)}), expected)


def test_samples_in_every_form_are_the_same(path: Path) -> None:
    expected = read_source(path)
    samples, rate = soundfile.read(path, dtype="float32")
    forms: list[Any] = [
        (samples, rate),
        (torch.from_numpy(samples), np.int64(rate)),
        (rate, samples),
        (samples, float(rate)),
        {"array": samples, "sampling_rate": rate, "path": "elsewhere.wav"},
        {"array": samples.tolist(), "sampling_rate": rate},
    ]
    for form in forms:
        torch.testing.assert_close(read_source(form), expected, rtol=0, atol=1e-6)


def test_a_pair_is_one_clip_and_other_tuples_are_lists() -> None:
    assert is_pair((TONE, 8_000))
    assert is_pair((8_000, torch.from_numpy(TONE)))
    for other in ((TONE, TONE), ("a.wav", "b.wav"), (TONE,), [TONE, 8_000], (TONE, "8000"), "ab"):
        assert not is_pair(other)
    assert not is_pair((TONE, True))


def test_samples_need_a_rate_and_files_take_none(corpus: Path) -> None:
    assert len(read_source(TONE, 8_000)) == 16_000
    with pytest.raises(ValueError, match="sample_rate: missing; give the rate"):
        read_source(TONE)
    with pytest.raises(ValueError, match="sample_rate: goes with samples only"):
        read_source(corpus, 16_000)
    with pytest.raises(ValueError, match="come with a rate already"):
        read_source((TONE, 8_000), 16_000)
    for rate in (8_000.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"found {rate}, give a whole number"):
            read_source(TONE, rate)  # type: ignore[arg-type]


def test_what_is_no_audio_is_said(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="audio: found float, give a path, the bytes"):
        read_source(0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='open it with mode "rb"'):
        read_source(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="found a dictionary with 'audio'; it needs 'array'"):
        read_source({"audio": TONE})
    with pytest.raises(AudioError, match="clip 3 holds 0 bytes"):
        read_source(b"", name="clip 3")
    with pytest.raises(AudioError, match="clip 3 cannot be decoded"):
        read_source(b"no audio", name="clip 3")
    with pytest.raises(AudioError, match=r"clip 3 .*silent"):
        read_source(np.zeros(8_000, dtype=np.float32), 8_000, name="clip 3")
    file = tmp_path / "bad.wav"
    file.write_bytes(b"no audio")
    with file.open("rb") as stream, pytest.raises(AudioError, match=r"bad\.wav cannot be decoded"):
        read_source(stream)
