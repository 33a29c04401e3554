# SPDX-License-Identifier: Apache-2.0
"""Clips that are in a corpus twice: the same samples, or the same recording in other clothes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from voxadapt.backbones.audio import AudioError
from voxadapt.recipes.corpora.audio_fingerprint import centred_samples, correlate
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.measured_clip import MeasuredClip

# Of MP3 and Vorbis copies of speech, nearly all fingerprints have a product above the first, and
# all correlate above the second. Takes of the same digit by the same speaker reach 0.99 and 0.89.
_ALIKE = 0.96
_COPY = 0.93
_SECONDS = 0.2  # what a coder adds to a clip's length
_AT_ONCE = 256
_MOST_PAIRS = 20  # of a clip: its nearest
# A copy in train is the one to leave out: scores stay comparable when the test clips do.
_KEPT_FIRST = {"test": 0, "valid": 1, "train": 2, None: 3}


def exact_groups(clips: Sequence[MeasuredClip]) -> list[list[MeasuredClip]]:
    """Return the clips that have the same samples, groups of two or more in manifest order."""
    groups: dict[str, list[MeasuredClip]] = {}
    for found in clips:
        groups.setdefault(found.quality.digest, []).append(found)
    return [group for group in groups.values() if len(group) > 1]


def candidate_pairs(clips: Sequence[MeasuredClip]) -> list[tuple[int, int]]:
    """Return pairs of positions in `clips` whose fingerprints and lengths are about the same.

    Of clips with the same samples, only the first is paired.
    """
    later = {member.row for group in exact_groups(clips) for member in group[1:]}
    chosen = [number for number, found in enumerate(clips) if found.row not in later]
    chosen.sort(key=lambda number: clips[number].quality.seconds)
    if not chosen:
        return []
    seconds = np.array([clips[number].quality.seconds for number in chosen])
    vectors = np.stack([clips[number].quality.fingerprint for number in chosen])
    vectors = vectors.astype(np.float32)  # [clips, 256]
    pairs = []
    for first in range(0, len(chosen), _AT_ONCE):
        last = min(first + _AT_ONCE, len(chosen))
        end = int(np.searchsorted(seconds, seconds[last - 1] + _SECONDS, side="right"))
        alike = vectors[first:last] @ vectors[first:end].T  # [block, first:end]
        near = seconds[None, first:end] - seconds[first:last, None] <= _SECONDS
        alike[~near | np.tri(*alike.shape, dtype=np.bool_)] = 0  # each pair once, none with itself
        for row in np.flatnonzero((alike > _ALIKE).any(axis=1)).tolist():
            nearest = np.argsort(-alike[row], kind="stable")[:_MOST_PAIRS]
            pairs += [
                tuple(sorted((chosen[first + row], chosen[first + int(other)])))
                for other in nearest
                if alike[row, other] > _ALIKE
            ]
    return sorted(pairs)


def group_correlations(group: tuple[Clip, list[Clip]]) -> list[float]:
    """Correlate a clip with each of several; 0 where one of the two cannot be decoded any more."""
    one, others = group
    try:
        samples = centred_samples(one)
    except AudioError:
        return [0.0] * len(others)
    return [_correlation(samples, other) for other in others]


def _correlation(samples: np.ndarray[Any, Any], other: Clip) -> float:
    try:
        return correlate(samples, centred_samples(other))
    except AudioError:
        return 0.0


def duplicate_findings(
    clips: Sequence[MeasuredClip],
    correlations: Callable[[Sequence[tuple[Clip, Clip]]], list[float]],
) -> Iterator[Finding]:
    """Yield one finding for each clip that is a copy of another.

    Args:
        clips: Clips that can be used, in manifest order.
        correlations: Computes `correlate` of many pairs, which come sorted by their first.
    """
    copies: dict[int, tuple[MeasuredClip, MeasuredClip, float | None]] = {}
    for group in exact_groups(clips):
        kept, *others = sorted(group, key=_keep_order)
        copies.update({other.row: (other, kept, None) for other in others})
    pairs = candidate_pairs(clips)
    computed = correlations([(clips[one].clip, clips[other].clip) for one, other in pairs])
    for (one, other), correlation in zip(pairs, computed, strict=True):
        kept, copy = sorted((clips[one], clips[other]), key=_keep_order)
        if correlation > _COPY and copy.row not in copies:
            copies[copy.row] = (copy, kept, correlation)
    for copy, kept, alike in copies.values():
        yield _finding(copy, kept, alike)
        if copy.clip.label != kept.clip.label and kept.row not in copies:
            yield _finding(kept, copy, alike)  # neither label can be trusted


def _keep_order(found: MeasuredClip) -> tuple[int, int]:
    return _KEPT_FIRST[found.clip.split], found.row


def _finding(copy: MeasuredClip, kept: MeasuredClip, correlation: float | None) -> Finding:
    one, other = copy.clip, kept.clip
    where = f"{other.id!r}" + (f" (line {kept.line})" if kept.line else "")
    if correlation is None:
        message = f"has the same samples as {where}"
    else:
        message = f"is the recording of {where}: they correlate by {correlation:.3f}"
    differ = [
        f"{name} {getattr(one, name)!r} and {getattr(other, name)!r}"
        for name in ("split", "fold", "label", "speaker")
        if getattr(one, name) != getattr(other, name)
    ]
    if correlation is None and copy.quality.rate != kept.quality.rate:
        differ.append(f"sample rate {copy.quality.rate} and {kept.quality.rate} Hz")
    if differ:
        message += f", with {', '.join(differ)}"
    conflicts = one.label != other.label
    leaks = (one.split, one.fold, one.speaker) != (other.split, other.fold, other.speaker)
    advice = "leave one out"
    if conflicts:
        advice = "find out which label is right, and leave the other out"
    elif leaks:
        advice = "leave one out: what is scored will have been heard in training"
    return Finding(
        "error" if leaks or conflicts else "warning",
        "duplicate" if correlation is None else "near-duplicate",
        message,
        advice,
        copy.row,
        one.id,
        copy.line,
        leave_out=True,
    )
