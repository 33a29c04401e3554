# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.intake.clip_lengths import read_lengths


def test_lengths_and_reasons(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(16_000), 8_000)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8_000)
    (tmp_path / "b.wav").write_bytes(b"no audio")
    clips = [
        Clip("whole", tmp_path / "a.flac"),
        Clip("part", tmp_path / "a.flac", start=0.5, end=1.25),
        Clip("open", tmp_path / "a.flac", start=0.5, end=9.0),
        Clip("behind", tmp_path / "a.flac", start=3.0),
        Clip("broken", tmp_path / "b.wav"),
        Clip("empty", tmp_path / "none.wav"),
        Clip("missing", tmp_path / "c.wav"),
        Clip("bytes", tmp_path / b"\xff.wav".decode("utf-8", "surrogateescape")),
    ]
    lengths = read_lengths(clips, progress=False)
    assert lengths[:3] == pytest.approx([2.0, 0.75, 1.5])
    assert lengths[3:] == [
        "the segment lies behind the end of the file",
        "the file cannot be read as audio",
        "the file holds no audio",
        "the file cannot be read as audio",
        "the name is not UTF-8; rename the file",
    ]
