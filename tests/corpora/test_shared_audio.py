# SPDX-License-Identifier: Apache-2.0
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.shared_audio import heard_shares


def segment(start, end, file="a.wav"):
    return Clip(id=f"{file}:{start}-{end}", path=Path(file), start=start, end=end)


def share(clip, *heard):
    return heard_shares(heard, [clip]).get(0, 0.0)


def test_segments_that_touch_share_nothing_and_other_files_neither():
    assert heard_shares([segment(0, 2), segment(4, None)], [segment(2, 4)]) == {}
    assert heard_shares([segment(None, None, "b.wav")], [segment(None, None)]) == {}


def test_rounding_of_a_boundary_is_no_overlap():
    assert share(segment(0.3, 1.0), segment(0, 0.1 + 0.2), segment(0.9999, 2)) == 0


def test_audio_that_is_heard_twice_counts_once():
    assert share(segment(0, 10), segment(1, 4), segment(2, 5)) == pytest.approx(0.4)
    assert share(segment(0, 10), segment(1, 2), segment(2, 3), segment(9, 12)) == pytest.approx(0.3)


def test_a_clip_inside_of_another_is_heard_whole():
    assert share(segment(3, 4), segment(0, None)) == 1
    assert share(segment(3, None), segment(None, None)) == 1


def test_length_of_a_clip_without_end_is_its_files(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8 * 16_000, np.float32), 16_000)
    assert share(segment(0, None, path), segment(0, 1, path)) == pytest.approx(1 / 8)
    assert share(segment(4, None, path), segment(0, 5, path)) == pytest.approx(1 / 4)
    path.unlink()
    assert share(segment(0, None, path), segment(0, 1, path)) == 1  # unknown, so nothing is said


def test_shares_are_those_of_a_count_in_tenths_of_a_second():
    numbers = random.Random(0)

    def draw():
        start = numbers.randrange(0, 300)
        return start, start + numbers.randrange(1, 40)

    heard = [draw() for _ in range(8)]
    clips = [draw() for _ in range(200)]
    tenths = {tenth for start, end in heard for tenth in range(start, end)}
    found = heard_shares(
        [segment(a / 10, b / 10) for a, b in heard], [segment(a / 10, b / 10) for a, b in clips]
    )
    for index, (start, end) in enumerate(clips):
        expected = len(tenths & set(range(start, end))) / (end - start)
        assert found.get(index, 0.0) == pytest.approx(expected)
    assert 0 < len(found) < len(clips)
