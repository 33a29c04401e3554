# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.fold_choice import (
    draw_folds,
    draw_shares,
    read_shares,
    warn_of_unknown_speakers,
)


def make(speakers: int, takes: int = 2, labels: str = "xyz") -> list[Clip]:
    return [
        Clip(
            f"{s}{label}{take}",
            Path(f"{s}{label}{take}.wav"),
            label=label,
            speaker=f"s{s}" if speakers else None,
        )
        for s in range(speakers or 7)
        for label in labels
        for take in range(takes)
    ]


@pytest.mark.parametrize(("speakers", "count", "folds"), [(6, None, 5), (3, None, 3), (6, 2, 2)])
def test_whole_speakers(speakers: int, count: int | None, folds: int) -> None:
    clips = make(speakers)
    notes = draw_folds(clips, count, 0)
    assert {clip.fold for clip in clips} == {f"{number}" for number in range(1, folds + 1)}
    assert len({(clip.speaker, clip.fold) for clip in clips}) == speakers
    assert f"{folds} folds of whole speakers" in notes[0]


def test_without_speakers_each_label_is_dealt_out() -> None:
    clips = make(0)
    notes = draw_folds(clips, 7, 0)
    assert Counter((clip.fold, clip.label) for clip in clips) == {
        (f"{fold}", label): 2 for fold in range(1, 8) for label in "xyz"
    }
    assert notes == [
        "7 folds of clips were drawn (seed 0), stratified by label: 6 clips each, each label with "
        "the same share in all"
    ]
    before = [clip.fold for clip in clips]
    draw_folds(clips[::-1], 7, 0)  # the order does not matter
    assert [clip.fold for clip in clips] == before
    draw_folds(clips, 7, 1)
    assert [clip.fold for clip in clips] != before


def test_the_balance_is_told_as_it_is() -> None:
    clips = make(2, takes=1, labels="xy")
    clips += [Clip(f"more{n}", Path("a.wav"), label="x", speaker="s0") for n in range(6)]
    (note,) = draw_folds(clips, 2, 0)
    # Fold of s0: 7 of 8 are x; in all, 8 of 10; fold of s1: 1 of 2.
    assert "2 to 8 clips; a label's share in a fold is off by 30.0 points at most" in note


def test_a_label_of_one_speaker_is_said() -> None:
    clips = [*make(3), Clip("only", Path("a.wav"), label="rare", speaker="s1")]
    notes = draw_folds(clips, 3, 0)
    assert any("label 'rare' is in fold" in note for note in notes)


def test_one_speaker_gives_no_folds() -> None:
    clips = make(1)
    assert "one speaker" in draw_folds(clips, None, 0)[0]
    assert {clip.fold for clip in clips} == {None}


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="--folds 4: there are 3 speakers"):
        draw_folds(make(3), 4, 0)
    clips = make(3)
    clips[0].speaker = None
    with pytest.raises(DataError, match=r"1 of 18 clips have no speaker: '0x0'.*--speaker-column"):
        draw_folds(clips, None, 0)


def test_the_warning_of_unknown_speakers() -> None:
    assert warn_of_unknown_speakers(make(2)) == []
    assert warn_of_unknown_speakers(make(0))[0].startswith("SPEAKERS ARE NOT KNOWN: the same")
    clips = make(2)
    clips[0].speaker = None
    assert "NOT KNOWN of 1 of the 12 clips: " in warn_of_unknown_speakers(clips)[0]


def test_shares() -> None:
    clips = make(10)
    clips[0].split = "test"  # what was there does not count
    notes = draw_shares(clips, (0.6, 0.2, 0.2), 0)
    sizes = Counter(clip.split for clip in clips)
    assert sizes == {"train": 36, "valid": 12, "test": 12}
    assert len({(clip.speaker, clip.split) for clip in clips}) == 10
    assert notes[0].startswith("train / valid / test were drawn as 60 / 20 / 20 % (seed 0)")


@pytest.mark.parametrize("text", ["70,15,15", "0.7,0.15,0.15", "70/15/15"])
def test_ways_to_write_shares(text: str) -> None:
    assert read_shares(text) == pytest.approx((0.7, 0.15, 0.15))


@pytest.mark.parametrize("text", ["70,30", "70,15,16", "a,b,c", "100,0,0", "50,25,25,0", ""])
def test_what_are_no_shares(text: str) -> None:
    with pytest.raises(DataError, match="add up to 100"):
        read_shares(text)
