# SPDX-License-Identifier: Apache-2.0
"""Draws a part out of a corpus: by clips within each label, or by whole speakers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.seeding import stable_seed

# Tries cost speakers × labels each; a corpus of thousands of speakers balances itself.
_MOST_TRIES, _STEPS = 200, 20_000


def draw_stratified(
    clips: Sequence[Clip], candidates: Sequence[int], fraction: float, seed: int
) -> list[int]:
    """Draw about `fraction` of each label, at least one clip and never the last one.

    Each clip's place in the draw comes from its id alone. Neither the order of the manifest nor a
    clip more or less therefore reshuffles the rest.

    Args:
        clips: All clips of the corpus.
        candidates: Indices of the clips to draw from; all have labels.
        fraction: Share of the candidates to draw, in 0..1.
        seed: What the draw depends on besides the ids.

    Returns:
        The indices drawn, ascending. A label with a single clip gives none.
    """
    by_label: dict[str | None, list[int]] = {}
    for index in candidates:
        by_label.setdefault(clips[index].label, []).append(index)
    drawn: list[int] = []
    for members in by_label.values():
        members.sort(key=lambda index: (stable_seed(seed, clips[index].id), clips[index].id))
        drawn.extend(members[: _count_to_draw(len(members), fraction)])
    return sorted(drawn)


def draw_speakers(
    clips: Sequence[Clip], candidates: Sequence[int], fraction: float, seed: int
) -> list[int] | None:
    """Draw whole speakers whose clips come closest to `fraction` of each label.

    From a shuffled list, speakers are taken while that brings the label counts nearer to their
    targets. This is tried many times, and the best draw is kept. Never are all speakers of a label
    drawn: a class must stay on the other side. A draw that lacks a class itself only wins where
    there is no other.

    Args:
        clips: All clips of the corpus.
        candidates: Indices of the clips to draw from; all have labels and speakers.
        fraction: Share of the candidates to draw, in 0..1.
        seed: What the draw depends on besides speakers and labels.

    Returns:
        The indices drawn, ascending; None where every speaker is the last one of some label.
    """
    pairs = Counter((clips[index].speaker, clips[index].label) for index in candidates)
    speakers = sorted({str(speaker) for speaker, _ in pairs})
    labels = sorted({str(label) for _, label in pairs})
    counts = np.zeros((len(speakers), len(labels)))  # [speakers, C]
    row = {name: position for position, name in enumerate(speakers)}
    column = {name: position for position, name in enumerate(labels)}
    for (speaker, label), count in pairs.items():
        counts[row[str(speaker)], column[str(label)]] = count

    random = np.random.default_rng(stable_seed(seed, "speakers"))
    tries = max(4, min(_MOST_TRIES, _STEPS // len(speakers)))
    draws = [_one_draw(counts, fraction, random) for _ in range(tries)]
    taken = min(draws, key=lambda drawn: _distance(counts[drawn].sum(axis=0), counts, fraction))
    if not taken:
        return None
    chosen = {speakers[position] for position in taken}
    return sorted(index for index in candidates if clips[index].speaker in chosen)


def _one_draw(counts: np.ndarray, fraction: float, random: np.random.Generator) -> list[int]:
    """Take speakers in random order as long as each brings the draw nearer to its targets."""
    taken: list[int] = []
    sums = np.zeros(counts.shape[1])  # [C]
    totals = counts.sum(axis=0)
    distance = _distance(sums, counts, fraction)
    for position in random.permutation(len(counts)).tolist():
        with_it = sums + counts[position]
        if (with_it >= totals).any():  # a label would have no speaker left
            continue
        nearer = _distance(with_it, counts, fraction)
        if nearer < distance:
            taken.append(position)
            sums, distance = with_it, nearer
    return taken


def _distance(sums: np.ndarray, counts: np.ndarray, fraction: float) -> float:
    """How far label counts [C] are from their targets, each label weighing the same."""
    totals = counts.sum(axis=0)
    missing = (sums == 0).sum()
    return float(missing + np.abs(sums / totals - fraction).mean())


def _count_to_draw(clips: int, fraction: float) -> int:
    return min(max(1, round(clips * fraction)), clips - 1)
