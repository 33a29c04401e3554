# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.label_findings import (
    label_findings,
    probable_typos,
    variant_spellings,
)


def find(**counts: int) -> list[Finding]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    clips = [Clip(f"{n}", Path("a.wav"), label=label or None) for n, label in enumerate(labels)]
    return list(label_findings([(n, n + 2, clip) for n, clip in enumerate(clips)], "label"))


def test_sound_labels_have_no_findings() -> None:
    assert find(angry=30, happy=20, sad=40, neutral=25, fear=5) == []
    assert find() == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Happy", "happy"),
        ("very happy", "very_happy"),
        ("sad.", "sad"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_spellings_of_one_class(one: str, other: str) -> None:
    assert variant_spellings(["neutral", one, other]) == [("spelling", one, other)]
    found = [finding for finding in find(**{one: 20, other: 30}) if "spelling" in finding.kind]
    assert [finding.severity for finding in found] == ["error"]
    assert (found[0].line, found[0].clip) == (2, "0")
    assert repr(other) in found[0].advice


@pytest.mark.parametrize(
    ("rare", "usual", "is_typo"),
    [
        ("hapy", "happy", True),
        ("netural", "neutral", True),
        ("hap", "happy", True),
        ("neutrall", "neutral", True),
        ("sad", "mad", False),  # another word
        ("fear", "tear", False),
        ("speaker1", "speaker2", False),  # numbered on purpose
        ("joy", "anger", False),
        ("10", "100", False),
    ],
)
def test_typos(rare: str, usual: str, is_typo: bool) -> None:
    found = probable_typos(Counter({rare: 2, usual: 50}))
    assert found == ([("typo", rare, usual)] if is_typo else [])
    assert probable_typos(Counter({rare: 45, usual: 50})) == []  # too many for slips


def test_typos_are_warnings_at_their_first_line() -> None:
    found = [finding for finding in find(happy=50, hapy=5, sad=50) if finding.kind == "label typo"]
    assert [(finding.severity, finding.line) for finding in found] == [("warning", 52)]


def test_class_sizes() -> None:
    assert [finding.kind for finding in find(a=100, b=9)] == ["imbalance"]
    assert [finding.kind for finding in find(a=90, b=9)] == []
    assert [finding.kind for finding in find(a=30, b=4)] == ["small class"]
    assert [finding.kind for finding in find(a=30)] == ["one class"]


def test_clips_without_labels() -> None:
    clips = [Clip(str(n), Path("a.wav"), label="ab"[n % 2] if n > 2 else None) for n in range(20)]
    (found,) = label_findings([(n, None, clip) for n, clip in enumerate(clips)], "mood")
    assert (found.severity, found.kind) == ("warning", "no label")
    assert found.message == "3 of 20 clips have no mood: '0', '1', '2'"
