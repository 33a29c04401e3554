# SPDX-License-Identifier: Apache-2.0
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from voxadapt.backbones import AudioError
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.reporting.clip_pictures import (
    LONGEST_SECONDS,
    decode_wav,
    draw_spectrogram,
    encode_wav,
    read_beginning,
)


def write(path: Path, seconds: float, rate: int = 16_000) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    soundfile.write(path, samples, rate)
    return samples


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [(None, None, LONGEST_SECONDS), (1.0, None, 30.0), (5.0, None, 27.0), (2.0, 4.5, 2.5)],
)
def test_the_beginning_of_a_long_clip_and_all_of_a_short_one(
    tmp_path: Path, start: float | None, end: float | None, seconds: float
) -> None:
    samples = write(tmp_path / "clip.wav", 32.0)
    found = read_beginning(Clip("clip", tmp_path / "clip.wav", start=start, end=end))
    assert len(found) == round(16_000 * seconds)
    first = round(16_000 * (start or 0))
    np.testing.assert_allclose(found, samples[first : first + len(found)], atol=1e-4)


def test_a_clip_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError):
        read_beginning(Clip("clip", tmp_path / "gone.wav"))


def test_wav_is_what_was_heard_to_16_bits() -> None:
    waveform = torch.linspace(-1.2, 1.2, 1_000)
    content = encode_wav(waveform)
    assert content[:4] == b"RIFF"
    torch.testing.assert_close(decode_wav(content), waveform.clamp(-1, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seconds", [0.05, 1.0, 20.0])
def test_a_higher_tone_stands_higher_and_a_later_one_further_right(seconds: float) -> None:
    time = torch.arange(round(16_000 * seconds)) / 16_000
    pictures = []
    for hertz in (300.0, 3_000.0):
        tone = 0.3 * torch.sin(2 * torch.pi * hertz * time)
        tone[: len(tone) // 2] = 0
        picture = Image.open(io.BytesIO(draw_spectrogram(tone)))
        assert picture.size[1] == 64
        assert picture.size[0] <= 600
        pictures.append(np.asarray(picture.convert("L"), dtype=float))
    low, high = (picture.sum(axis=1).argmax() for picture in pictures)
    assert high < low  # rows count from the top
    columns = pictures[0].sum(axis=0)
    half = len(columns) // 2
    assert columns[half + 1 :].sum() > columns[: max(1, half - 1)].sum()
