# SPDX-License-Identifier: Apache-2.0
"""Draws parts out of a corpus: by clips within each label, or by whole speakers."""

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
    speakers, counts = _count_labels(clips, candidates)
    random = np.random.default_rng(stable_seed(seed, "speakers"))
    tries = max(4, min(_MOST_TRIES, _STEPS // len(speakers)))
    draws = [_one_draw(counts, fraction, random) for _ in range(tries)]
    taken = min(draws, key=lambda drawn: _distance(counts[drawn].sum(axis=0), counts, fraction))
    if not taken:
        return None
    chosen = {speakers[position] for position in taken}
    return sorted(index for index in candidates if clips[index].speaker in chosen)


def cut_validation(
    clips: Sequence[Clip],
    train: Sequence[int],
    fraction: float,
    seed: int,
    *,
    by_label: bool = False,
) -> tuple[list[int], list[int], str]:
    """Divide a training part: whole speakers are held back where all of them are known.

    Args:
        clips: All clips of the corpus.
        train: Indices of the clips to divide; all have labels.
        fraction: Share of them to hold back, in 0..1.
        seed: What the draw depends on.
        by_label: Stratify by label although the speakers are known.

    Returns:
        The indices that train and those that validate, ascending, and a sentence that says how they
        were drawn.
    """
    valid = None
    how = "stratified by label, since not all speakers of train are known"
    if by_label:
        how = "stratified by label, as was asked, so that it shares speakers with train"
    elif all(clips[index].speaker for index in train):
        valid = draw_speakers(clips, train, fraction, seed)
        how = "speaker-disjoint"
        if valid is None:
            how = (
                "stratified by label, so it shares speakers with train: each speaker of train is "
                "the only one of some label there"
            )
    valid = valid or draw_stratified(clips, train, fraction, seed)
    cut = set(valid)
    return [index for index in train if index not in cut], valid, f"valid was cut from train: {how}"


def draw_speaker_folds(clips: Sequence[Clip], folds: int, seed: int) -> list[int]:
    """Deal whole speakers out to folds, so that each has about the same clips of each label.

    Speakers with many clips are dealt first, each to the fold that it suits best; ties are drawn.
    This is tried many times, and the best deal is kept: first the one with the fewest labels that
    train in no other fold, then with the fewest that a fold lacks, then the most even one.

    Args:
        clips: All clips of the corpus, each with a label and a speaker.
        folds: Number of folds, at most as many as there are speakers.
        seed: What the deal depends on besides speakers and labels.

    Returns:
        The fold of each clip, from 0.
    """
    speakers, counts = _count_labels(clips, range(len(clips)))
    random = np.random.default_rng(stable_seed(seed, "folds"))
    tries = max(4, min(_MOST_TRIES, _STEPS // (len(speakers) * folds)))
    deals = [_one_deal(counts, folds, random) for _ in range(tries)]
    best = min(deals, key=lambda deal: _unevenness(deal, counts, folds))
    fold_of = dict(zip(speakers, best.tolist(), strict=True))
    return [fold_of[str(clip.speaker)] for clip in clips]


def _one_deal(counts: np.ndarray, folds: int, random: np.random.Generator) -> np.ndarray:
    """Deal speakers, largest first, each to the fold with the least of what it brings."""
    shares = counts / counts.sum(axis=0)  # [speakers, C], each label weighing the same
    order = np.lexsort((random.random(len(counts)), -counts.sum(axis=1)))
    sums = np.zeros((folds, counts.shape[1]))
    deal = np.zeros(len(counts), dtype=np.int64)
    for place, speaker in enumerate(order.tolist()):
        empty = np.flatnonzero(sums.sum(axis=1) == 0)
        # The last speakers fill the folds that have none.
        candidates = empty if len(empty) >= len(order) - place else np.arange(folds)
        # Growth of the sum of squares, which is least when all folds hold the same.
        growth = np.square(sums[candidates] + shares[speaker]).sum(axis=1)
        growth -= np.square(sums[candidates]).sum(axis=1)
        best = candidates[growth <= growth.min() + 1e-12]
        deal[speaker] = random.choice(best)
        sums[deal[speaker]] += shares[speaker]
    return deal


def _unevenness(deal: np.ndarray, counts: np.ndarray, folds: int) -> tuple[int, int, float]:
    """Labels that are all in one fold, labels that a fold lacks, and how uneven the rest is."""
    sums = np.zeros((folds, counts.shape[1]))
    np.add.at(sums, deal, counts)
    alone = int((sums == sums.sum(axis=0)).sum())
    shares = sums / sums.sum(axis=0)
    # Rounded, so that the order of a sum cannot decide between two deals.
    return alone, int((sums == 0).sum()), round(float(np.abs(shares - 1 / folds).mean()), 9)


def _count_labels(clips: Sequence[Clip], candidates: Sequence[int]) -> tuple[list[str], np.ndarray]:
    """The speakers, sorted, and their clips of each label, `[speakers, C]`."""
    pairs = Counter((clips[index].speaker, clips[index].label) for index in candidates)
    speakers = sorted({str(speaker) for speaker, _ in pairs})
    labels = sorted({str(label) for _, label in pairs})
    counts = np.zeros((len(speakers), len(labels)))  # [speakers, C]
    row = {name: position for position, name in enumerate(speakers)}
    column = {name: position for position, name in enumerate(labels)}
    for (speaker, label), count in pairs.items():
        counts[row[str(speaker)], column[str(label)]] = count
    return speakers, counts


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
