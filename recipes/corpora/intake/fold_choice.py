# SPDX-License-Identifier: Apache-2.0
"""Folds and parts for clips that come with none."""

from collections import Counter
from collections.abc import Sequence

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, some_of
from voxadapt.recipes.corpora.fold_balancing import balance_speaker_folds
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.split_drawing import draw_speaker_folds
from voxadapt.recipes.corpora.splits import make_splits

DEFAULT_FOLDS = 5


def warn_of_unknown_speakers(clips: Sequence[Clip]) -> list[str]:
    """Say loudly, in one sentence, that speakers are not known; nothing where all are."""
    unknown = sum(clip.speaker is None for clip in clips)
    if not unknown:
        return []
    some = "" if unknown == len(clips) else f" of {unknown:,} of the {len(clips):,} clips"
    return [
        f"SPEAKERS ARE NOT KNOWN{some}: the same voice may be in train and test, and scores will "
        "then be too good. If names or a table tell the speakers, give --pattern with {speaker}, "
        "or --speaker-column"
    ]


def draw_folds(clips: Sequence[Clip], count: int | None, seed: int) -> list[str]:
    """Give each clip a fold, in place: whole speakers where they are known.

    Args:
        clips: All clips, each with a label.
        count: How many folds; None takes 5, or as many as there are speakers if those are fewer.
        seed: What the draw depends on.

    Returns:
        What was done, one sentence each.

    Raises:
        DataError: There are fewer speakers, or clips of a label, than folds.
    """
    speakers = {clip.speaker for clip in clips} - {None}
    unknown = sum(clip.speaker is None for clip in clips)
    if unknown == len(clips):
        return _draw_clip_folds(clips, DEFAULT_FOLDS if count is None else count, seed)
    if unknown:
        raise DataError(
            f"{unknown:,} of {len(clips):,} clips have no speaker: "
            f"{some_of([clip.id for clip in clips if clip.speaker is None])}; no fold can be told "
            "to be free of them. Name their speakers, leave them out, or take no speakers at all "
            "by --speaker-column none."
        )
    wanted = min(DEFAULT_FOLDS, len(speakers)) if count is None else count
    if wanted > len(speakers):
        raise DataError(
            f"--folds {wanted}: there are {len(speakers)} speakers; ask for so many folds at most."
        )
    if wanted < 2:
        note = "there is one speaker, so there are no speaker-disjoint folds: none were drawn"
        return [note]
    folds = balance_speaker_folds(clips, draw_speaker_folds(clips, wanted, seed))
    for clip, fold in zip(clips, folds, strict=True):
        clip.fold = str(fold + 1)
    return [
        f"{wanted} folds of whole speakers were drawn (seed {seed}), no speaker in two: "
        + _balance(clips),
        *_lonely_labels(clips),
    ]


def draw_shares(clips: Sequence[Clip], shares: tuple[float, float, float], seed: int) -> list[str]:
    """Give each clip a part, train, valid or test, in place: whole speakers where they are known.

    Args:
        clips: All clips, each with a label.
        shares: Of train, valid and test; they add up to 1.
        seed: What the draw depends on.

    Returns:
        What was done, one sentence each.

    Raises:
        DataError: No such parts can be drawn.
    """
    for clip in clips:
        clip.split = None
    _, valid, test = shares
    splits = make_splits(clips, seed=seed, valid_fraction=valid / (1 - test), test_fraction=test)
    for name, indices in splits.parts().items():
        for index in indices:
            clips[index].split = name
    drawn = " / ".join(f"{100 * share:g}" for share in shares)
    notes = [f"train / valid / test were drawn as {drawn} % (seed {seed}): {splits.protocol}"]
    return notes + splits.notes


def read_shares(text: str) -> tuple[float, float, float]:
    """Read `70,15,15`: percentages of train, valid and test.

    Raises:
        DataError: It is not three positive numbers that add up to 100 (or to 1).
    """
    try:
        numbers = [float(part) for part in text.replace("/", ",").split(",")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    close = any(abs(total - whole) < 1e-6 * whole for whole in (1, 100))
    if len(numbers) != 3 or min(numbers) <= 0 or not close:
        raise DataError(
            f"--shares {text}: give percentages of train, valid and test that add up to 100, such "
            "as --shares 70,15,15."
        )
    return numbers[0] / total, numbers[1] / total, numbers[2] / total


def _draw_clip_folds(clips: Sequence[Clip], count: int, seed: int) -> list[str]:
    """Deal the clips of each label out to folds; a clip's place comes from its id alone."""
    if count < 2:
        raise DataError(f"--folds {count}: ask for 2 or more, or for none by --folds 0.")
    by_label: dict[str | None, list[Clip]] = {}
    for clip in clips:
        by_label.setdefault(clip.label, []).append(clip)
    place = 0
    for label in sorted(by_label, key=str):
        members = by_label[label]
        members.sort(key=lambda clip: (stable_seed(seed, "folds", clip.id), clip.id))
        for clip in members:
            clip.fold = str(place % count + 1)
            place += 1
    return [
        f"{count} folds of clips were drawn (seed {seed}), stratified by label: {_balance(clips)}",
        *_lonely_labels(clips),
    ]


def _balance(clips: Sequence[Clip]) -> str:
    """How even the folds are, in words."""
    sizes = Counter(clip.fold for clip in clips)
    folds, labels = sorted(sizes, key=str), sorted({str(clip.label) for clip in clips})
    counts = Counter((clip.fold, clip.label) for clip in clips)
    totals = Counter(clip.label for clip in clips)
    worst, fold = max(
        (abs(counts[fold, label] / sizes[fold] - totals[label] / len(clips)), fold)
        for fold in folds
        for label in labels
    )
    few, many = min(sizes.values()), max(sizes.values())
    clips_text = f"{few:,} clips each" if few == many else f"{few:,} to {many:,} clips"
    if worst < 5e-4:
        return f"{clips_text}, each label with the same share in all"
    return (
        f"{clips_text}; a label's share in a fold is off by {100 * worst:.1f} points at most "
        f"(fold {fold})"
    )


def _lonely_labels(clips: Sequence[Clip]) -> list[str]:
    """Labels that are all in one fold: when it is tested, nothing has taught them."""
    folds: dict[str | None, set[str | None]] = {}
    for clip in clips:
        folds.setdefault(clip.label, set()).add(clip.fold)
    return [
        f"label {label!r} is in fold {next(iter(where))} only, so that fold cannot be tested: "
        "leave the label out (--map), or give clips of more speakers"
        for label, where in sorted(folds.items(), key=lambda pair: str(pair[0]))
        if len(where) == 1
    ]
