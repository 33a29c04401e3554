# SPDX-License-Identifier: Apache-2.0
"""Whether folds share speakers, in one sentence."""

from collections.abc import Sequence

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.natural_order import natural_key


def shared_by_folds(clips: Sequence[Clip]) -> list[str]:
    """Return at most one sentence: in how many folds tested speakers also train.

    Args:
        clips: The clips of a manifest.
    """
    folds: dict[str, set[str]] = {}
    for clip in clips:
        if clip.fold and clip.speaker:
            folds.setdefault(clip.fold, set()).add(clip.speaker)
    worst, shared = "", 0
    affected = 0
    for fold in sorted(folds, key=natural_key):
        others = set().union(*(folds[other] for other in folds if other != fold))
        count = len(folds[fold] & others)
        affected += bool(count)
        if count > shared:
            worst, shared = fold, count
    if not affected:
        return []
    return [
        f"in {affected} of {len(folds)} folds, speakers that are tested also train: in fold "
        f"{worst}, {shared} of {len(folds[worst])}"
    ]
