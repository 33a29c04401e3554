# SPDX-License-Identifier: Apache-2.0
"""The script of docs/timeline.md's picture: what is said to be in the recording is in it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "timeline_recording.py"


def test_the_recording_and_its_picture(
    finetuned: Path, write_samples: Callable[..., Path], tmp_path: Path
) -> None:
    lines = ["path,label,speaker,split"]
    levels = {"neutral": 0.1, "angry": 0.4, "sad": 0.05, "happy": 0.2}
    for emotion, level in levels.items():
        for take in range(8):
            name = f"{emotion}_{take}.wav"
            write_samples(tmp_path / name, level * np.sin(np.arange(4_000) / 5))
            lines.append(f"{name},{emotion},s0,test")
    (tmp_path / "demo.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recording, picture = tmp_path / "recording.flac", tmp_path / "timeline.png"
    options: list[Any] = ["--run", finetuned, "--corpus", tmp_path, "--recording", recording]
    command = [sys.executable, SCRIPT, *options, "--out", picture]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    samples, rate = soundfile.read(recording)
    spans = [
        line.split("\t") for line in recording.with_suffix(".true.txt").read_text().split("\n")
    ]
    assert [span[2] for span in spans[:-1]] == [
        *("neutral", "angry", "sad", "happy", "neutral", "angry")
    ]
    for start, end, emotion in spans[:-1]:
        part = samples[round(float(start) * rate) : round(float(end) * rate)]
        assert np.abs(part).max() == pytest.approx(levels[emotion], rel=0.1)
        after = samples[round((float(end) + 0.05) * rate) : round((float(end) + 1) * rate)]
        assert np.abs(after).max() < 0.01
