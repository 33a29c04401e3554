# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.audio_tree import sort_files
from voxadapt.recipes.corpora.intake.pattern_source import find_by_pattern

TREE = sort_files(Path("/c"), ["s1/sad-1.wav", "s2/happy-2.flac", "odd.wav", "s1/v-1.mp4", "n.txt"])


def test_names_tell_and_others_are_listed() -> None:
    found = find_by_pattern(TREE, "{speaker}/{label}-{take}")
    assert [(clip.id, clip.speaker, clip.label, clip.columns) for clip in found.clips] == [
        ("s1/sad-1.wav", "s1", "sad", {"take": "1"}),
        ("s2/happy-2.flac", "s2", "happy", {"take": "2"}),
    ]
    assert found.clips[0].path == Path("/c/s1/sad-1.wav")
    assert {one.what for one in found.left_out} == {"odd.wav", "s1/v-1.mp4"}


def test_times_in_names() -> None:
    tree = sort_files(Path("/c"), ["a_1.5_2.wav", "b_x_2.wav"])
    found = find_by_pattern(tree, "{label}_{start}_{end}.wav")
    assert [(clip.start, clip.end) for clip in found.clips] == [(1.5, 2.0)]
    assert "no number of seconds" in found.left_out[0].reason


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{speaker}/*-*", "has no {label}; it names speaker"),
        ("{label}/{path}-*", "{path} is taken"),
        ("{label}+{n}", "fits none of the 3 audio files below /c"),
    ],
)
def test_patterns_that_do_not_serve(pattern: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        find_by_pattern(TREE, pattern)
    assert message in str(raised.value)
