# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.split_drawing import (
    cut_validation,
    draw_speaker_folds,
    draw_speakers,
    draw_stratified,
)


def make_clips(labels, speakers=None):
    speakers = speakers or [None] * len(labels)
    return [
        Clip(id=f"c{index}", path=Path(f"{index}.wav"), label=label, speaker=speaker)
        for index, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]


def test_stratified_takes_its_share_of_each_label():
    clips = make_clips(["a"] * 100 + ["b"] * 20 + ["c"] * 3 + ["d"])
    drawn = draw_stratified(clips, range(len(clips)), 0.2, seed=0)
    counts = Counter(clips[index].label for index in drawn)
    assert counts == {"a": 20, "b": 4, "c": 1}  # never the only clip of a label
    assert drawn == sorted(set(drawn))


def test_stratified_never_takes_all():
    clips = make_clips(["a", "a", "b", "b"])
    assert len(draw_stratified(clips, range(4), 0.99, seed=0)) == 2


def test_stratified_draws_from_the_candidates_only():
    clips = make_clips(["a"] * 50)
    assert set(draw_stratified(clips, range(10, 30), 0.5, seed=0)) <= set(range(10, 30))


def test_stratified_depends_on_ids_and_seed_and_not_on_order():
    clips = make_clips(["a", "b"] * 50)
    drawn = {clips[index].id for index in draw_stratified(clips, range(100), 0.2, seed=1)}
    turned = clips[::-1]
    assert {turned[index].id for index in draw_stratified(turned, range(100), 0.2, seed=1)} == drawn
    assert {clips[index].id for index in draw_stratified(clips, range(100), 0.2, seed=2)} != drawn


def test_stratified_hardly_moves_when_a_clip_is_lost():
    clips = make_clips(["a"] * 200)
    drawn = {clips[index].id for index in draw_stratified(clips, range(200), 0.2, seed=1)}
    fewer = clips[1:]
    again = {fewer[index].id for index in draw_stratified(fewer, range(199), 0.2, seed=1)}
    assert len(drawn ^ again) <= 2


@pytest.mark.parametrize("seed", range(20))
def test_whole_speakers_are_drawn_and_every_class_stays(seed):
    random = np.random.default_rng(seed)
    speakers = [f"s{number}" for number in random.integers(0, 12, size=300)]
    labels = [f"l{number}" for number in random.integers(0, 5, size=300)]
    clips = make_clips(labels, speakers)
    drawn = set(draw_speakers(clips, range(300), 0.2, seed))
    inside = {clips[index].speaker for index in drawn}
    outside = {clips[index].speaker for index in range(300) if index not in drawn}
    assert inside
    assert not inside & outside
    assert {clips[index].label for index in range(300) if index not in drawn} == set(labels)
    assert {clips[index].label for index in drawn} == set(labels)
    counts = Counter(labels)
    for label, count in Counter(clips[index].label for index in drawn).items():
        assert abs(count / counts[label] - 0.2) < 0.12


def test_rare_class_held_by_few_speakers_reaches_both_sides():
    # Of twenty speakers, two alone have the label `b`: one must be drawn and one must stay.
    speakers = [f"s{number}" for number in range(20)] + ["s3", "s11"]
    clips = make_clips(["a"] * 20 + ["b"] * 2, speakers)
    drawn = draw_speakers(clips, range(22), 0.2, seed=0)
    assert sum(clips[index].label == "b" for index in drawn) == 1
    assert sum(clips[index].label == "a" for index in drawn) in (3, 4, 5)


def test_no_speaker_can_go():
    assert draw_speakers(make_clips(["a", "b"], ["s1", "s2"]), range(2), 0.5, seed=0) is None
    assert draw_speakers(make_clips(["a", "b"], ["s1", "s1"]), range(2), 0.5, seed=0) is None


def test_speakers_depend_on_the_seed_and_not_on_order():
    labels = ["a", "b"] * 60
    clips = make_clips(labels, [f"s{index // 4}" for index in range(120)])

    def drawn(clips, seed):
        return {clips[index].speaker for index in draw_speakers(clips, range(120), 0.2, seed)}

    assert drawn(clips, 1) == drawn(clips[::-1], 1)
    assert len({frozenset(drawn(clips, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("seed", range(10))
def test_speakers_are_dealt_out_evenly(seed):
    random = np.random.default_rng(seed)
    speakers = [f"s{number}" for number in random.integers(0, 30, size=600)]
    labels = [f"l{number}" for number in random.integers(0, 4, size=600)]
    clips = make_clips(labels, speakers)
    folds = draw_speaker_folds(clips, 5, seed)
    fold_of = {}
    for clip, fold in zip(clips, folds, strict=True):
        assert fold_of.setdefault(clip.speaker, fold) == fold
    sizes = Counter(zip(folds, labels, strict=True))
    for label, count in Counter(labels).items():
        for fold in range(5):
            assert 0.12 < sizes[fold, label] / count < 0.28


def test_each_fold_gets_a_speaker_even_where_one_has_nearly_all_clips():
    speakers = ["big"] * 95 + [f"s{number}" for number in range(4)]
    clips = make_clips(["a", "b"] * 49 + ["a"], speakers)
    assert set(draw_speaker_folds(clips, 5, seed=0)) == {0, 1, 2, 3, 4}


def test_a_label_of_few_speakers_is_spread_over_folds():
    speakers = [f"s{number}" for number in range(12) for _ in range(6)]
    labels = [
        "rare" if number in (0, 5) and take < 2 else "common"
        for number in range(12)
        for take in range(6)
    ]
    clips = make_clips(labels, speakers)
    for seed in range(5):
        folds = draw_speaker_folds(clips, 3, seed)
        rare = {fold for fold, label in zip(folds, labels, strict=True) if label == "rare"}
        assert len(rare) == 2


def test_folds_do_not_depend_on_the_order_of_the_clips():
    clips = make_clips(["a", "b"] * 60, [f"s{index // 2 % 10}" for index in range(120)])
    folds = draw_speaker_folds(clips, 4, seed=1)
    assert draw_speaker_folds(clips[::-1], 4, seed=1) == folds[::-1]


def test_validation_is_cut_by_speaker_or_says_why_not():
    speakers = [f"s{index // 2 % 10}" for index in range(120)]
    clips = make_clips(["a", "b"] * 60, speakers)
    train, valid, how = cut_validation(clips, range(100), 0.15, seed=0)
    assert sorted([*train, *valid]) == list(range(100))
    assert not {speakers[index] for index in train} & {speakers[index] for index in valid}
    assert how.endswith("speaker-disjoint")
    clips[7].speaker = None
    assert "not all speakers of train are known" in cut_validation(clips, range(100), 0.15, 0)[2]
    alone = make_clips(["a"] * 20 + ["b"] * 20, ["s0"] * 20 + ["s1"] * 20)
    train, valid, how = cut_validation(alone, range(40), 0.15, seed=0)
    assert "shares speakers with train" in how
    assert len(valid) == 6
