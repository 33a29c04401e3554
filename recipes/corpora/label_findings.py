# SPDX-License-Identifier: Apache-2.0
"""What is odd about a corpus's labels: spellings of one class, classes with few clips."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.finding import Finding

_FEW_CLIPS = 5
_IMBALANCE = 10
_MOST_CLASSES = 500  # more are speakers or words, and comparing all pairs takes minutes
_TYPO_LETTERS = 4  # of shorter words, one letter more or less is another word
_TYPO_LIKENESS = 0.8
_ABBREVIATION_LETTERS = 3
_RARE = 0.1  # of the other label's clips: a slip happens now and then


def label_findings(rows: Sequence[tuple[int, int | None, Clip]], column: str) -> Iterator[Finding]:
    """Yield what is odd about the labels.

    Args:
        rows: Index and line of each row that is a clip, and the clip.
        column: The column that the labels are from.
    """
    counts = Counter(clip.label for _, _, clip in rows if clip.label)
    if not counts:
        return
    without = [clip.id for _, _, clip in rows if not clip.label]
    if without:
        yield Finding(
            "warning",
            "no label",
            f"{len(without):,} of {len(rows):,} clips have no {column}: {some_of(without)}",
            "label them, or leave them out of what is trained with labels",
        )
    if len(counts) <= _MOST_CLASSES:
        spellings = [*variant_spellings(list(counts)), *probable_typos(counts)]
        for kind, one, other in spellings:
            yield from _spelling(kind, rows, counts, one, other)
    yield from _class_sizes(counts)


def variant_spellings(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return pairs that differ in nothing but case, accents' coding, spaces and punctuation."""
    by_letters: dict[str, list[str]] = {}
    for label in labels:
        by_letters.setdefault(_letters(label) or label, []).append(label)
    return [
        ("spelling", one, other)
        for group in by_letters.values()
        for one, other in combinations(group, 2)
    ]


def probable_typos(counts: Counter[str]) -> list[tuple[str, str, str]]:
    """Return pairs of which the rarer is probably the other with a slip, or cut short."""
    found = []
    for one, other in combinations(counts, 2):
        rare, usual = sorted((one, other), key=lambda label: counts[label])
        first, second = _letters(rare), _letters(usual)
        if first == second or counts[rare] > _RARE * counts[usual]:
            continue
        if not (first.isalpha() and second.isalpha()):  # session1 and session2 are no typos
            continue
        shorter = min(len(first), len(second))
        cut = shorter >= _ABBREVIATION_LETTERS and (
            first.startswith(second) or second.startswith(first)
        )
        likeness = difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()
        if cut or (shorter >= _TYPO_LETTERS and likeness >= _TYPO_LIKENESS):
            found.append(("typo", rare, usual))
    return found


def _letters(label: str) -> str:
    folded = unicodedata.normalize("NFKC", label).casefold()
    return re.sub(r"[\W_]+", "", folded)


def _spelling(
    kind: str,
    rows: Sequence[tuple[int, int | None, Clip]],
    counts: Counter[str],
    one: str,
    other: str,
) -> Iterator[Finding]:
    rare, usual = sorted((one, other), key=lambda label: counts[label])
    index, line, clip = next(row for row in rows if row[2].label == rare)
    differ = "only in how they are written" if kind == "spelling" else "by a few letters"
    yield Finding(
        "error" if kind == "spelling" else "warning",
        "label spelling" if kind == "spelling" else "label typo",
        f"labels {rare!r} ({counts[rare]:,} clips, this is the first) and {usual!r} "
        f"({counts[usual]:,}) differ {differ}, and would be two classes",
        f"write {usual!r} everywhere if they are one class",
        index,
        clip.id,
        line,
    )


def _class_sizes(counts: Counter[str]) -> Iterator[Finding]:
    if len(counts) == 1:
        (label,) = counts
        yield Finding(
            "warning",
            "one class",
            f"every labelled clip has the label {label!r}",
            "a classifier needs two classes",
        )
        return
    few = sorted(label for label, count in counts.items() if count < _FEW_CLIPS)
    if few:
        yield Finding(
            "warning",
            "small class",
            f"{len(few)} of {len(counts)} labels have fewer than {_FEW_CLIPS} clips: "
            f"{some_of(few)}",
            "give more of them, or merge or leave out these classes: too few to train and test on",
        )
    (largest, most), (smallest, least) = counts.most_common()[0], counts.most_common()[-1]
    if most > _IMBALANCE * least:
        yield Finding(
            "warning",
            "imbalance",
            f"{largest!r} has {most:,} clips, {smallest!r} {least:,}: {most / least:.0f} times as "
            "many",
            "look at UA and macro F1, which weigh classes the same, and not at WA alone",
        )
