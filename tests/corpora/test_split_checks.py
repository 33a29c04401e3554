# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.split_checks import (
    copied_clips,
    part_problems,
    part_remarks,
    shared_speakers,
)


def clip(name, label="a", speaker=None, start=None, end=None):
    path = Path(f"{name[0]}.wav")
    return Clip(id=name, path=path, label=label, speaker=speaker, start=start, end=end)


CLIPS = [clip("p", "a"), clip("q", "b"), clip("r", "a"), clip("s", "b"), clip("t", "c")]


def test_good_parts_have_no_problem():
    parts = {"train": [0, 1], "valid": [2], "test": [3]}
    assert part_problems(CLIPS, parts, need_test=True) == []
    assert shared_speakers(CLIPS, parts) == []


@pytest.mark.parametrize(
    ("train", "valid", "test", "message"),
    [
        ([], [0], [1], "train has no clip"),
        ([0, 1], [], [2], "valid has no clip"),
        ([0, 1], [2], [], "test has no clip"),
        ([0, 2], [], [], "every clip of train has the label 'a'"),
        ([0, 1], [2], [4], "label 'c' is in test (1 clips) but never in train"),
        ([0, 1], [4], [2], "label 'c' is in valid"),
    ],
)
def test_problems(train, valid, test, message):
    parts = {"train": train, "valid": valid, "test": test}
    assert any(message in problem for problem in part_problems(CLIPS, parts, need_test=True))


def test_test_part_may_be_empty_where_not_needed():
    assert part_problems(CLIPS, {"train": [0, 1], "valid": [2], "test": []}, need_test=False) == []


def test_same_audio_in_two_parts():
    clips = [clip("p1"), clip("q", "b"), clip("p2"), clip("r")]
    (problem,) = part_problems(clips, {"train": [0, 1], "valid": [3], "test": [2]}, need_test=True)
    assert "train and test have the same audio" in problem
    assert "'p2'" in problem
    clips[2] = clip("p2", start=0.0)  # as good as none
    assert part_problems(clips, {"train": [0, 1], "valid": [3], "test": [2]}, need_test=True)
    clips[2] = clip("p2", start=3.0)  # p1 is the whole file
    assert part_problems(clips, {"train": [0, 1], "valid": [3], "test": [2]}, need_test=True)
    # Another segment of the same file is other audio.
    clips[0] = clip("p1", end=3.0)
    assert not part_problems(clips, {"train": [0, 1], "valid": [3], "test": [2]}, need_test=True)


def test_copies_under_other_names_are_told_for_each_two_parts():
    parts = {"train": [0, 1], "valid": [3], "test": [2, 4]}
    assert list(copied_clips(CLIPS, parts, np.array([0, 0, 1, 2, 1]))) == []
    told = list(copied_clips(CLIPS, parts, np.array([0, 1, 1, 0, 1])))
    assert told == [
        "1 of the 1 clips of valid are also in train, under other names: 's'",
        "2 of the 2 clips of test are also in train, under other names: 'r', 't'",
    ]
    assert list(copied_clips(CLIPS, {**parts, "test": []}, np.array([0, 0, 1, 2, 1]))) == []


def test_segments_that_overlap_by_half_are_a_problem_and_by_less_a_remark():
    parts = {"train": [0, 1], "valid": [3], "test": [2]}
    clips = [clip("p1", end=3.0), clip("q", "b"), clip("p2", start=2.0, end=4.0), clip("r")]
    (problem,) = part_problems(clips, parts, need_test=True)
    assert "train and test have the same audio" in problem
    assert "'p2'" in problem
    clips[2] = clip("p2", start=2.0, end=4.1)
    assert not part_problems(clips, parts, need_test=True)
    (remark,) = [one for one in part_remarks(clips, parts) if "overlap in time" in one]
    assert "1 of the 1 clips of test" in remark
    assert "of train" in remark
    assert "48%" in remark
    clips[2] = clip("p2", start=3.0, end=4.1)
    assert not any("overlap in time" in one for one in part_remarks(clips, parts))


def test_shared_speakers_are_counted_per_pair_and_unknown_ones_are_not_shared():
    speakers = ["s1", "s2", "s1", None, "s2", "s3", None]
    clips = [clip(f"{index}", speaker=speaker) for index, speaker in enumerate(speakers)]
    found = shared_speakers(clips, {"train": [0, 1, 6], "valid": [2, 3], "test": [4, 5]})
    assert found == [
        "1 of the 1 speakers of valid are also in train: 's1'",
        "1 of the 2 speakers of test are also in train: 's2'",
    ]


def test_remarks_tell_of_unknown_speakers_missing_classes_and_shared_sessions():
    clips = [clip(name, label) for name, label in zip("pqrs", "abab", strict=True)]
    parts = {"train": [0, 1], "valid": [2], "test": [3]}
    assert part_remarks(clips, parts) == [
        "no speaker is known, so shared speakers cannot be ruled out",
        "valid has no clip of 'b'",
        "test has no clip of 'a'",
    ]
    for number, one in enumerate(clips):
        one.speaker, one.columns["session"] = f"s{number}", str(number // 3)
    assert not any("session" in remark for remark in part_remarks(clips, parts))
    clips[2].columns["session"] = "1"
    assert part_remarks(clips, parts)[-1].startswith("1 of the 1 sessions of test are also in")
