# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.corpora.splits import make_splits

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"


def make_clips(count=120, *, labels=3, speakers=None, **columns):
    """Clips whose columns are functions of the index; speakers take turns at every label."""
    return [
        Clip(
            id=f"c{index:04}",
            path=Path(f"{index}.wav"),
            label=f"l{index % labels}",
            speaker=None if speakers is None else f"s{index // labels % speakers}",
            **{name: value(index) for name, value in columns.items()},
        )
        for index in range(count)
    ]


def speakers_in(clips, part):
    return {clips[index].speaker for index in part}


def problems_of(clips, **options):
    with pytest.raises(DataError) as caught:
        make_splits(clips, seed=0, **options)
    return str(caught.value)


@pytest.mark.parametrize("seed", range(25))
def test_drawn_parts_never_share_speakers(seed):
    random = np.random.default_rng(seed)
    size, labels, speakers = random.integers([60, 2, 6], [500, 6, 40])
    clips = make_clips(size, labels=1, speakers=1)
    for clip in clips:
        clip.label = f"l{random.integers(labels)}"
        clip.speaker = f"s{random.integers(speakers)}"
    splits = make_splits(clips, seed=seed)
    assert sorted([*splits.train, *splits.valid, *splits.test]) == list(range(size))
    train, valid, test = (speakers_in(clips, part) for part in splits.parts().values())
    assert not test & (train | valid)
    if not any("stratified" in note for note in splits.notes):
        assert not train & valid
    assert {clips[index].label for index in splits.train} == {clip.label for clip in clips}
    assert splits.protocol == "speaker-disjoint-random"
    assert not splits.speaker_overlap


def test_enough_speakers_make_validation_disjoint_too():
    clips = make_clips(speakers=10)
    splits = make_splits(clips, seed=0)
    train, valid, _ = (speakers_in(clips, part) for part in splits.parts().values())
    assert not train & valid
    assert "valid was cut from train: speaker-disjoint" in splits.notes


def test_unknown_speakers_give_a_stratified_split_that_says_so():
    clips = make_clips(300)
    splits = make_splits(clips, seed=0)
    assert splits.protocol == "stratified-random"
    assert "no speaker is known, so shared speakers cannot be ruled out" in splits.notes
    for part, share in (("test", 20), ("valid", 12), ("train", 68)):
        counts = np.bincount([int(clips[i].label[1:]) for i in splits.parts()[part]])
        assert counts.tolist() == [share] * 3


def test_seed_decides():
    clips = make_clips(speakers=20)
    assert make_splits(clips, seed=3) == make_splits(clips, seed=3)
    prints = {make_splits(clips, seed=seed).fingerprint(clips) for seed in range(4)}
    assert len(prints) > 1


def test_fingerprint_ignores_order_and_knows_ids_labels_and_parts():
    clips = make_clips(30, split=lambda index: ("train", "valid", "test")[index % 10 % 3])
    first = make_splits(clips, seed=0)
    print_of = first.fingerprint(clips)
    assert len(print_of) == 64
    turned = clips[::-1]
    assert make_splits(turned, seed=9).fingerprint(turned) == print_of
    for change in ("id", "label", "split"):
        changed = make_clips(30, split=lambda index: ("train", "valid", "test")[index % 10 % 3])
        setattr(changed[0], change, {"id": "new", "label": "l1", "split": "test"}[change])
        assert make_splits(changed, seed=0).fingerprint(changed) != print_of


def test_fingerprint_is_stable_between_versions():
    clips = make_clips(6, labels=2, split=lambda index: ("train", "valid", "test")[index // 2])
    assert make_splits(clips, seed=0).fingerprint(clips) == (
        "a89e9aea784cd3c354627229c1592ad5f4c3b2bad027b23eccd96b524b4f7c78"
    )


def test_split_column_is_taken_as_it_is():
    clips = make_clips(split=lambda index: ("train", "valid", "test")[index // 40])
    splits = make_splits(clips, seed=0)
    assert splits.parts() == {
        "train": list(range(40)),
        "valid": list(range(40, 80)),
        "test": list(range(80, 120)),
    }
    assert splits.protocol == "split-column"


def test_split_column_without_valid_has_it_cut_from_train():
    clips = make_clips(
        speakers=10, split=lambda index: "test" if index // 3 % 10 in (0, 1) else "train"
    )
    splits = make_splits(clips, seed=0, valid_fraction=0.25)
    assert speakers_in(clips, splits.test) == {"s0", "s1"}
    assert len(speakers_in(clips, splits.valid)) == 2
    assert not speakers_in(clips, splits.valid) & speakers_in(clips, splits.train)


def test_validation_from_one_speaker_is_stratified_and_noted():
    clips = make_clips(speakers=2, split=lambda index: "test" if index // 3 % 2 else "train")
    splits = make_splits(clips, seed=0)
    assert splits.valid
    assert any("shares speakers with train" in note for note in splits.notes)
    assert not splits.speaker_overlap  # train and test are what it is about


def test_overlap_of_speakers_is_refused_by_name():
    clips = make_clips(speakers=10, split=lambda index: "test" if index % 4 == 0 else "train")
    message = problems_of(clips)
    assert "10 of the 10 speakers of test are also in train: 's0', 's1'" in message
    assert "--allow-speaker-overlap" in message


def test_declared_overlap_is_in_protocol_and_notes():
    clips = make_clips(speakers=10, split=lambda index: "test" if index % 4 == 0 else "train")
    splits = make_splits(clips, seed=0, allow_speaker_overlap=True)
    assert splits.protocol == "split-column+speaker-overlap"
    assert splits.speaker_overlap
    assert any("10 of the 10 speakers" in note for note in splits.notes)
    # Validation stays speaker-disjoint from train all the same.
    assert not speakers_in(clips, splits.valid) & speakers_in(clips, splits.train)


def test_validation_by_label_hears_the_speakers_that_test_asks_for():
    clips = make_clips(speakers=5, split=lambda index: "test" if index % 4 == 0 else "train")
    splits = make_splits(clips, seed=0, allow_speaker_overlap=True, validation="label")
    assert speakers_in(clips, splits.train) == speakers_in(clips, splits.test)
    assert len(splits.valid) == pytest.approx(0.15 * 90, abs=2)
    assert any("stratified by label, as was asked" in note for note in splits.notes)


def test_validation_by_label_is_refused_where_test_has_speakers_of_its_own():
    message = problems_of(make_clips(speakers=10), validation="label", allow_speaker_overlap=True)
    assert "scores on heard speakers would choose the epoch for unheard ones" in message
    assert "Leave --validation out" in message


def test_overlap_that_is_allowed_but_not_there_is_not_claimed():
    splits = make_splits(make_clips(speakers=10), seed=0, allow_speaker_overlap=True)
    assert splits.protocol == "speaker-disjoint-random"
    assert not splits.speaker_overlap


def test_given_validation_that_shares_speakers_with_train_is_refused():
    parts = {"s0": "test", "s1": "train", "s2": "valid"}
    clips = make_clips(speakers=3, split=lambda index: parts[f"s{index // 3 % 3}"])
    make_splits(clips, seed=0)
    clips[3].split = "valid"
    assert "1 of the 2 speakers of valid are also in train: 's1'" in problems_of(clips)


def test_fold_is_tested_and_the_others_train():
    clips = make_clips(speakers=5, fold=lambda index: str(index // 3 % 5))
    splits = make_splits(clips, seed=0, fold="2")
    assert splits.protocol == "fold-column:2"
    assert speakers_in(clips, splits.test) == {"s2"}
    assert speakers_in(clips, splits.train) | speakers_in(clips, splits.valid) == {
        "s0",
        "s1",
        "s3",
        "s4",
    }


def test_fold_wins_over_split_and_says_so():
    clips = make_clips(fold=lambda index: str(index % 5), split=lambda index: "train")
    splits = make_splits(clips, seed=0, fold="1")
    assert [clips[index].fold for index in splits.test] == ["1"] * 24
    assert any("split column was not used" in note for note in splits.notes)


def test_wrong_folds():
    assert "no column 'fold'" in problems_of(make_clips(), fold="1")
    clips = make_clips(fold=lambda index: f"ses{index % 3}")
    message = problems_of(clips, fold="ses5")
    assert "the folds are: ses0, ses1, ses2" in message
    assert "did you mean" in message
    clips[7].fold = None
    assert "1 of 120 clips have no fold: 'c0007'" in problems_of(clips, fold="ses1")


def test_label_that_never_trains():
    clips = make_clips(split=lambda index: ("train", "valid", "test")[index // 40])
    clips[-1].label = "rare"
    assert "label 'rare' is in test (1 clips) but never in train" in problems_of(clips)


def test_all_problems_in_one_error():
    clips = make_clips(speakers=4, split=lambda index: ("train", "valid", "test")[index // 40])
    clips[-1].label = "rare"
    message = problems_of(clips)
    assert "'rare'" in message
    assert "speakers of test are also in train" in message
    assert "speakers of valid are also in train" in message


def test_one_class_cannot_train():
    assert "at least two classes" in problems_of(make_clips(labels=1))


@pytest.mark.parametrize("part", ["train", "test"])
def test_empty_part(part):
    other = "test" if part == "train" else "train"
    assert f"{part} has no clip" in problems_of(make_clips(split=lambda _: other))


def test_test_part_where_none_is_needed():
    splits = make_splits(make_clips(speakers=10), seed=0, need_test=False)
    assert splits.test == []
    assert len(splits.train) + len(splits.valid) == 120
    only_train = make_clips(split=lambda index: "train")
    assert make_splits(only_train, seed=0, need_test=False).test == []


@pytest.mark.parametrize("column", ["label", "split", "speaker"])
def test_clips_left_blank_are_counted(column):
    split = {"split": lambda index: "train"} if column == "split" else {}
    clips = make_clips(speakers=10, **split)
    for index in (4, 5):
        setattr(clips[index], column, None)
    assert f"2 of 120 clips have no {column}: 'c0004', 'c0005'" in problems_of(clips)


def test_some_unknown_speakers_beside_a_split_column_are_noted():
    clips = make_clips(speakers=10, split=lambda i: "test" if i // 3 % 10 < 2 else "train")
    clips[-1].speaker = None
    notes = make_splits(clips, seed=0).notes
    assert "1 clips' speakers are not known, so shared speakers cannot be ruled out" in notes


def test_class_that_a_part_lacks_is_noted():
    clips = make_clips(split=lambda index: ("train", "valid", "test")[index // 40])
    for clip in clips[80:]:
        clip.label = "l0"
    assert "test has no clip of 'l1', 'l2'" in make_splits(clips, seed=0).notes


def test_speaker_as_label():
    clips = make_clips(speakers=4)
    for clip in clips:
        clip.label = clip.speaker
    assert "--allow-speaker-overlap" in problems_of(clips)
    splits = make_splits(clips, seed=0, allow_speaker_overlap=True)
    assert splits.protocol == "stratified-random+speaker-overlap"
    assert speakers_in(clips, splits.test) == {"s0", "s1", "s2", "s3"}


@pytest.mark.parametrize("name", ["valid_fraction", "test_fraction"])
@pytest.mark.parametrize("value", [0, 1, 20, float("nan")])
def test_fractions_are_between_0_and_1(name, value):
    with pytest.raises(ValueError, match=name):
        make_splits(make_clips(), seed=0, **{name: value})


def test_urdu_needs_its_overlap_declared():
    path = CORPORA / "urdu" / "urdu.csv"
    if not path.exists():
        pytest.skip(f"urdu is not in {CORPORA}")
    clips = read_manifest(path, require_label=True).clips
    assert "18 of the 19 speakers of test are also in train" in problems_of(clips)
    splits = make_splits(clips, seed=0, allow_speaker_overlap=True)
    assert (len(splits.train) + len(splits.valid), len(splits.test)) == (300, 100)
    assert splits.protocol == "split-column+speaker-overlap"
    assert not speakers_in(clips, splits.valid) & speakers_in(clips, splits.train)


def test_baved_is_divided_by_speaker():
    path = CORPORA / "baved" / "baved.csv"
    if not path.exists():
        pytest.skip(f"baved is not in {CORPORA}")
    clips = read_manifest(path, require_label=True).clips
    splits = make_splits(clips, seed=0)
    parts = [speakers_in(clips, part) for part in splits.parts().values()]
    assert sum(len(part) for part in parts) == len(set.union(*parts))
    for label in ("low", "neutral", "high"):
        share = sum(clips[index].label == label for index in splits.test) / sum(
            clip.label == label for clip in clips
        )
        assert 0.17 < share < 0.23


def session_clips():
    """Four sessions of two speakers each, as IEMOCAP has five."""
    return make_clips(
        240,
        speakers=8,
        columns=lambda index: {"session": str(1 + index // 3 % 8 // 2)},
    )


def test_a_session_is_left_out():
    clips = session_clips()
    splits = make_splits(clips, seed=0, protocol="leave-one-session-out", fold="3")
    assert (splits.protocol, splits.protocol_name) == ("session:3", "leave-one-session-out-v1")
    assert speakers_in(clips, splits.test) == {"s4", "s5"}
    assert not speakers_in(clips, splits.valid) & speakers_in(clips, splits.train)
    assert not any("sessions of test" in note for note in splits.notes)


def test_sessions_that_train_and_test_share_are_noted():
    clips = session_clips()
    splits = make_splits(clips, seed=0, protocol="leave-one-speaker-out", fold="s5")
    assert (splits.protocol, splits.protocol_name) == ("speaker:s5", "leave-one-speaker-out-v1")
    assert speakers_in(clips, splits.test) == {"s5"}
    assert any(note.startswith("1 of the 1 sessions of test are also in") for note in splits.notes)


def test_a_speaker_of_two_sessions_is_refused_or_declared():
    clips = session_clips()
    clips[0].columns["session"] = "4"
    message = problems_of(clips, protocol="leave-one-session-out", fold="4")
    assert "1 of the 3 speakers of test are also in train: 's0'" in message
    splits = make_splits(
        clips, seed=0, protocol="leave-one-session-out", fold="4", allow_speaker_overlap=True
    )
    assert splits.protocol == "session:4+speaker-overlap"
    assert splits.protocol_name == "leave-one-session-out-v1+speaker-overlap"


def test_speakers_are_drawn_into_folds_that_test_each_clip_once():
    clips = make_clips(300, speakers=20)
    tested = []
    for fold in "12345":
        options = {"protocol": "speaker-disjoint-kfold-v1", "fold": fold, "fold_seed": 3}
        splits = make_splits(clips, seed=0, **options)
        assert splits.protocol == f"speaker-disjoint-fold:{fold}/5"
        assert splits.protocol_name == "speaker-disjoint-kfold-v1"
        assert not speakers_in(clips, splits.test) & speakers_in(clips, splits.train + splits.valid)
        tested += splits.test
    assert sorted(tested) == list(range(300))
    # The seed draws validation only: folds of several seeds are the same folds.
    other = make_splits(clips, seed=1, **options)
    assert other.test == splits.test
    assert other.valid != splits.valid


def test_a_protocol_that_is_asked_for_wins_over_the_columns_and_says_so():
    clips = make_clips(speakers=10, split=lambda _: "train", fold=lambda index: str(index % 2))
    splits = make_splits(clips, seed=0, protocol="speaker-disjoint-random")
    assert splits.protocol_name == "speaker-disjoint-random-v1"
    assert any("split column was not used" in note for note in splits.notes)
    told = problems_of(clips, protocol="stratified-random")
    assert "speakers of test are also in train" in told


def test_a_fold_column_that_is_not_used_is_noted():
    clips = make_clips(speakers=10, fold=lambda index: str(index % 2))
    notes = make_splits(clips, seed=0).notes
    assert "the fold column was not used; --fold all tests each of its folds" in notes


def test_protocols_and_folds_that_do_not_go_together():
    clips = make_clips(speakers=10)
    assert "has no column 'split'" in problems_of(clips, protocol="official")
    assert "has no column 'fold'" in problems_of(clips, protocol="kfold", fold="1")
    assert "has no folds" in problems_of(clips, protocol="stratified-random", fold="1")
    told = problems_of(clips, protocol="leave-one-speaker-out")
    assert "no fold was chosen" in told
    assert "s8, s9" in told
    with pytest.raises(ValueError, match="did you mean 'kfold'"):
        make_splits(clips, seed=0, protocol="kfolds")


def test_where_no_speaker_can_leave_the_way_out_fits_the_protocol():
    clips = make_clips(speakers=4)
    for clip in clips:
        clip.label = clip.speaker
    told = problems_of(clips, protocol="speaker-disjoint-random", allow_speaker_overlap=True)
    assert "by --protocol stratified-random and --allow-speaker-overlap" in told


@pytest.mark.parametrize(
    ("options", "digits"),
    [
        ({}, "53df5067b97071b1"),
        ({"protocol": "stratified-random-v1", "allow_speaker_overlap": True}, "224fe4cf8857ee53"),
        (
            {"protocol": "speaker-disjoint-kfold-v1", "fold": "2", "fold_seed": 5},
            "394a37310bc1b0ef",
        ),
    ],
)
def test_what_a_version_draws_never_changes(options, digits):
    clips = make_clips(200, speakers=13)
    assert make_splits(clips, seed=5, **options).fingerprint(clips)[:16] == digits


def test_uneven_folds_are_drawn_and_balanced_as_ever():
    clips = make_clips(200)
    for index, clip in enumerate(clips):
        clip.speaker = f"s{min(index % 23, index % 7 * 3)}"
    options = {"protocol": "speaker-disjoint-kfold-v1", "fold": "1", "fold_seed": 5}
    splits = make_splits(clips, seed=5, **options)
    assert 30 <= len(splits.test) <= 50
    assert splits.test_fingerprint(clips)[:16] == "2df9708f3b20bb64"


def test_the_test_fingerprint_is_of_the_test_part_alone():
    clips = make_clips(speakers=10, split=lambda i: "test" if i // 3 % 10 < 2 else "train")
    first, second = (make_splits(clips, seed=seed) for seed in (0, 1))
    assert first.fingerprint(clips) != second.fingerprint(clips)
    assert first.test_fingerprint(clips) == second.test_fingerprint(clips)
    clips[first.test[0]].label = "l2"
    assert first.test_fingerprint(clips) != second.test_fingerprint(make_clips(speakers=10))
