# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.intake.speaker_overlap import shared_by_folds


def clips(*pairs: tuple[str | None, str | None]) -> list[Clip]:
    return [Clip("a", Path("a"), speaker=speaker, fold=fold) for speaker, fold in pairs]


def test_overlap_in_folds() -> None:
    found = shared_by_folds(clips(("a", "1"), ("a", "2"), ("b", "2"), ("b", "10"), ("c", "3")))
    (sentence,) = found
    assert sentence.startswith("in 3 of 4 folds")
    assert sentence.endswith("in fold 2, 2 of 2")


def test_none_where_speakers_are_apart_or_unknown() -> None:
    assert shared_by_folds(clips(("a", "1"), ("a", "1"), ("b", "2"))) == []
    assert shared_by_folds(clips((None, "1"), (None, "2"), ("a", None))) == []
