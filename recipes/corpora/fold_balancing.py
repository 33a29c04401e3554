# SPDX-License-Identifier: Apache-2.0
"""Makes folds of whole speakers more even: moves and swaps of speakers while they help."""

from collections.abc import Sequence

import numpy as np

from voxadapt.recipes.corpora.clip import Clip

# Speakers. Every pair of them is tried at each step, or every one; of many more, dealing them out
# in order is even enough.
_MOST_SWAPPED, _MOST_MOVED = 60, 300
_MOST_STEPS = 500


def balance_speaker_folds(clips: Sequence[Clip], folds: Sequence[int]) -> list[int]:
    """Improve folds of whole speakers, as `balance_folds` does.

    Args:
        clips: The clips, each with a label and a speaker.
        folds: The fold of each, from 0; all of a speaker are in one.

    Returns:
        The fold of each clip.
    """
    fold_of = {str(clip.speaker): fold for clip, fold in zip(clips, folds, strict=True)}
    speakers = {name: row for row, name in enumerate(sorted(fold_of))}
    labels = {name: row for row, name in enumerate(sorted({str(clip.label) for clip in clips}))}
    counts = np.zeros((len(speakers), len(labels)))  # [speakers, C]
    for clip in clips:
        counts[speakers[str(clip.speaker)], labels[str(clip.label)]] += 1
    deal = np.array([fold_of[name] for name in speakers])
    balanced = balance_folds(deal, counts, max(folds) + 1)
    return [int(balanced[speakers[str(clip.speaker)]]) for clip in clips]


def balance_folds(deal: np.ndarray, counts: np.ndarray, folds: int) -> np.ndarray:
    """Improve a deal of speakers to folds, by the best move or swap as long as there is one.

    What is made small: first, labels that are all in one fold; then labels that a fold lacks; then
    the squared differences of each label's share in a fold, and of the fold's share of all clips,
    from an equal one.

    Args:
        deal: The fold of each speaker, from 0.
        counts: Clips of each speaker and label, `[speakers, C]`; each label occurs.
        folds: Number of folds; none is emptied.

    Returns:
        The fold of each speaker; the same deal where nothing helps.
    """
    deal = deal.copy()
    # The clips of all labels together weigh as much as all labels do.
    labels = counts.shape[1]
    columns = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
    shares = columns / columns.sum(axis=0)
    weights = np.append(np.ones(labels), labels)
    best = _unevenness(deal, shares, weights, folds)
    for _ in range(_MOST_STEPS):
        options = [*_moves(deal, folds), *_swaps(deal)]
        scored = [(_unevenness(option, shares, weights, folds), option) for option in options]
        if not scored:
            break
        score, option = min(scored, key=lambda pair: pair[0])
        if score >= best:
            break
        best, deal = score, option
    return deal


def _moves(deal: np.ndarray, folds: int) -> list[np.ndarray]:
    """Deals in which one speaker is in another fold; no fold is left without one."""
    if len(deal) > _MOST_MOVED:
        return []
    sizes = np.bincount(deal, minlength=folds)
    found = []
    for speaker, fold in enumerate(deal.tolist()):
        for other in range(folds) if sizes[fold] > 1 else ():
            if other != fold:
                changed = deal.copy()
                changed[speaker] = other
                found.append(changed)
    return found


def _swaps(deal: np.ndarray) -> list[np.ndarray]:
    """Deals in which two speakers have changed places."""
    if len(deal) > _MOST_SWAPPED:
        return []
    found = []
    for one in range(len(deal)):
        for other in range(one + 1, len(deal)):
            if deal[one] != deal[other]:
                changed = deal.copy()
                changed[[one, other]] = deal[[other, one]]
                found.append(changed)
    return found


def _unevenness(
    deal: np.ndarray, shares: np.ndarray, weights: np.ndarray, folds: int
) -> tuple[int, int, float]:
    sums = np.zeros((folds, shares.shape[1]))  # [folds, C + 1]
    np.add.at(sums, deal, shares)
    labels = sums[:, :-1]
    alone = int((labels > 1 - 1e-9).sum())
    lacking = int((labels < 1e-9).sum())
    # Rounded, so that the order of a sum cannot decide between two deals.
    return alone, lacking, round(float((weights * np.square(sums - 1 / folds)).sum()), 9)
