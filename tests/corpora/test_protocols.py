# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.protocols import (
    PROTOCOLS,
    default_protocol,
    distinct_folds,
    find_protocol,
    folds_of_clips,
)


def make_clips(count=60, *, speakers=12, **columns):
    return [
        Clip(
            id=f"c{index:03}",
            path=Path(f"{index}.wav"),
            label=f"l{index % 3}",
            speaker=f"s{index // 3 % speakers}" if speakers else None,
            **{name: value(index) for name, value in columns.items()},
        )
        for index in range(count)
    ]


def test_a_name_is_found_with_and_without_its_version():
    for name, protocol in PROTOCOLS.items():
        assert find_protocol(name) is find_protocol(f"{name}-v{protocol.version}") is protocol
        assert protocol.versioned == f"{name}-v1"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("kfolds", "did you mean 'kfold'"),
        ("official-v2", "of official there is official-v1 only"),
        ("kfold-vx", "must be one of official, kfold"),
        ("-v1", "must be one of"),
    ],
)
def test_other_names_are_refused(name, told):
    with pytest.raises(ValueError, match="found") as caught:
        find_protocol(name)
    assert told in str(caught.value)


def test_the_manifest_speaks_for_a_protocol():
    split = make_clips(split=lambda index: "train")
    assert default_protocol(split, fold=True).name == "kfold"
    assert default_protocol(split, fold=False).name == "official"
    assert default_protocol(make_clips(), fold=False).name == "speaker-disjoint-random"
    assert default_protocol(make_clips(speakers=0), fold=False).name == "stratified-random"


def test_folds_are_the_columns_values():
    clips = make_clips(
        fold=lambda index: str(index % 12), columns=lambda i: {"session": f"{i % 5}"}
    )
    kfold = folds_of_clips(clips, PROTOCOLS["kfold"])
    assert kfold == [clip.fold for clip in clips]
    assert distinct_folds(kfold) == [str(number) for number in range(12)]
    sessions = folds_of_clips(clips, PROTOCOLS["leave-one-session-out"])
    assert sessions == [clip.columns["session"] for clip in clips]
    speakers = folds_of_clips(clips, PROTOCOLS["leave-one-speaker-out"])
    assert speakers == [clip.speaker for clip in clips]
    assert distinct_folds(speakers) == [f"s{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("kfold", "fold"),
        ("leave-one-session-out", "session"),
        ("leave-one-speaker-out", "speaker"),
        ("speaker-disjoint-kfold", "speaker"),
    ],
)
def test_a_column_that_is_missing_or_blank_or_constant_is_said(name, column):
    protocol = PROTOCOLS[name]

    def give(clips, value):
        for clip in clips:
            if column == "session":
                clip.columns["session"] = value
            else:
                setattr(clip, column, value)
        return clips

    with pytest.raises(DataError, match=f"protocol {name} was asked .* no column '{column}'"):
        folds_of_clips(give(make_clips(), ""), protocol)
    clips = give(make_clips(), "x")
    give(clips[3:5], None)
    with pytest.raises(DataError, match=f"2 of 60 clips have no {column}: 'c003', 'c004'"):
        folds_of_clips(clips, protocol)
    told = "only 1 speakers" if name == "speaker-disjoint-kfold" else "holds 'x' for every clip"
    with pytest.raises(DataError, match=told):
        folds_of_clips(give(make_clips(), "x"), protocol)


def test_drawn_folds_hold_whole_speakers_and_depend_on_the_seed():
    clips = make_clips()
    protocol = PROTOCOLS["speaker-disjoint-kfold"]
    folds = folds_of_clips(clips, protocol, count=4, seed=1)
    assert distinct_folds(folds) == ["1", "2", "3", "4"]
    speakers = {fold: set() for fold in folds}
    for clip, fold in zip(clips, folds, strict=True):
        speakers[fold].add(clip.speaker)
    assert sum(len(found) for found in speakers.values()) == 12
    assert Counter(folds) == dict.fromkeys("1234", 15)
    assert folds == folds_of_clips(clips, protocol, count=4, seed=1)
    assert folds != folds_of_clips(clips, protocol, count=4, seed=2)
    with pytest.raises(DataError, match="13 folds were asked for, but there are only 12 speakers"):
        folds_of_clips(clips, protocol, count=13)
