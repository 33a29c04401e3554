# SPDX-License-Identifier: Apache-2.0
"""Shapes of published splits; those of all corpora are tested with their clips."""

from collections import Counter
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.emobox_lists import EmoboxLists, Utterance
from voxadapt.recipes.corpora.intake.emobox_splits import SplitManifest, arrange_splits

KEYS = [f"k{number:02d}" for number in range(20)]


def lists_of(folds: dict[str, dict[str, list[str]]]) -> EmoboxLists:
    utterances = {key: Utterance(key, f"{key}.wav", "a") for key in KEYS}
    return EmoboxLists("x", utterances, list(KEYS), folds)


def clips_of(keys: list[str]) -> list[Clip]:
    return [Clip(key, Path(f"{key}.wav"), label="angry") for key in keys]


def parts(manifest: SplitManifest) -> dict[str | None, int]:
    return Counter(clip.split for clip in manifest.clips)


def test_folds_that_divide_the_corpus_are_one_column() -> None:
    halves = {"1": KEYS[::2], "2": KEYS[1::2]}
    lists = lists_of({"1": {"test": halves["1"], "train": halves["2"]}, "2": {"test": halves["2"]}})
    (manifest,), notes = arrange_splits(lists, clips_of(KEYS[:15]))
    assert {clip.id: clip.fold for clip in manifest.clips} == {
        key: fold for fold, keys in halves.items() for key in keys if key in KEYS[:15]
    }
    assert "the 2 published folds divide the corpus" in notes[-1]


@pytest.mark.parametrize(
    "second",
    [
        {"test": KEYS[9:], "train": KEYS[:9]},  # k09 is tested twice
        {"test": KEYS[11:], "train": KEYS[:11]},  # k10 never
        {"test": KEYS[10:], "train": KEYS[:9]},  # k09 does not train
        {"test": KEYS[10:], "train": KEYS[:9], "valid": KEYS[9:10]},
    ],
)
def test_folds_that_do_not_divide_become_one_manifest_each(second: dict[str, list[str]]) -> None:
    lists = lists_of({"1": {"test": KEYS[:10], "train": KEYS[10:]}, "2": second})
    manifests, notes = arrange_splits(lists, clips_of(KEYS))
    assert [manifest.suffix for manifest in manifests] == ["-fold1", "-fold2"]
    assert parts(manifests[0]) == {"train": 10, "test": 10}
    assert parts(manifests[1]) == {part: len(keys) for part, keys in second.items()}
    assert any("do not divide" in note for note in notes)


def test_further_tests_are_manifests_of_their_own() -> None:
    fold = {"train": KEYS[:9], "test": KEYS[9:12], "test1": KEYS[9:12], "test2": KEYS[11:15]}
    manifests, notes = arrange_splits(lists_of({"1": fold}), clips_of(KEYS))
    assert [manifest.suffix for manifest in manifests] == ["", "-test2"]
    assert parts(manifests[0]) == {"train": 9, "test": 3}
    assert [clip.id for clip in manifests[1].clips] == KEYS[12:15]
    assert parts(manifests[1]) == {"test": 3}
    assert "test1 holds nothing that the other lists do not hold" in notes


def test_a_train_list_that_is_missing_is_derived_and_said() -> None:
    lists = lists_of({"1": {"test": KEYS[:5], "valid": KEYS[5:7]}})
    (manifest,), notes = arrange_splits(lists, clips_of(KEYS))
    assert parts(manifest) == {"train": 13, "valid": 2, "test": 5}
    assert any("no train list" in note for note in notes)
    lists.utterances = {key: lists.utterances[key] for key in KEYS[:7]}
    with pytest.raises(DataError, match="get the whole of EmoBox"):
        arrange_splits(lists, clips_of(KEYS))


def test_an_utterance_in_two_parts_is_tested_and_said() -> None:
    lists = lists_of({"1": {"train": KEYS[:12], "test": KEYS[10:]}})
    (manifest,), notes = arrange_splits(lists, clips_of(KEYS))
    assert parts(manifest) == {"train": 10, "test": 10}
    assert notes == ["2 utterances of fold 1 stand in two parts; the later counts"]


def test_a_fold_needs_a_test_list() -> None:
    with pytest.raises(DataError, match="fold_1 of x has no test list; its lists: train"):
        arrange_splits(lists_of({"1": {"train": KEYS}}), [])
