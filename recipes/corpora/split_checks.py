# SPDX-License-Identifier: Apache-2.0
"""What a split must not do, whoever made it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.shared_audio import HEARD, heard_shares

Parts = Mapping[str, Sequence[int]]
"""Indices of the clips by the name of the part: train, valid, test."""


def part_problems(
    clips: Sequence[Clip], parts: Parts, *, need_test: bool, need_classes: bool = True
) -> list[str]:
    """Return why nothing could be learnt or measured on these parts, one sentence each.

    Args:
        clips: All clips of the corpus.
        parts: The split.
        need_test: Whether the test part may not be empty.
        need_classes: Whether labels are classes, which train must have.
    """
    problems = [
        f"{name} has no clip; {_WAYS_OUT[name]}"
        for name, indices in parts.items()
        if not indices and (need_test or name != "test")
    ]
    trained = {clips[index].label for index in parts["train"]} if need_classes else set()
    if len(trained) == 1:
        problems.append(
            f"every clip of train has the label {next(iter(trained))!r}; at least two classes must "
            "be in train"
        )
    for name in ("valid", "test") if trained else ():
        labels = Counter(clips[index].label for index in parts[name])
        problems.extend(
            f"label {label!r} is in {name} ({count} clips) but never in train, so it cannot be "
            "learnt; correct the label, or leave its clips out, or move some to train"
            for label, count in labels.items()
            if label not in trained
        )
    return [*problems, *_heard_clips(clips, parts)]


def shared_speakers(clips: Sequence[Clip], parts: Parts) -> list[str]:
    """Return, for each two parts that share known speakers, one sentence that says who.

    Args:
        clips: All clips of the corpus.
        parts: The split.
    """
    speakers = {
        name: {clips[index].speaker for index in indices} - {None}
        for name, indices in parts.items()
    }
    found = []
    for one, other in combinations(parts, 2):
        shared = sorted(str(speaker) for speaker in speakers[one] & speakers[other])
        if shared:
            found.append(
                f"{len(shared)} of the {len(speakers[other])} speakers of {other} are also in "
                f"{one}: {some_of(shared)}"
            )
    return found


def part_remarks(clips: Sequence[Clip], parts: Parts) -> list[str]:
    """Return what a reader of results on these parts should know, one sentence each.

    Args:
        clips: All clips of the corpus.
        parts: The split.
    """
    unknown = sum(clip.speaker is None for clip in clips)
    remarks = []
    if unknown:
        who = "no speaker is" if unknown == len(clips) else f"{unknown:,} clips' speakers are not"
        remarks.append(f"{who} known, so shared speakers cannot be ruled out")
    labels = {clips[index].label for index in parts["train"]}
    for name in ("valid", "test"):
        missing = sorted(
            str(label) for label in labels - {clips[index].label for index in parts[name]}
        )
        if parts[name] and missing:
            remarks.append(f"{name} has no clip of {some_of(missing)}")
    sessions = {
        name: {clips[index].columns.get("session") for index in part} - {None, ""}
        for name, part in parts.items()
    }
    shared = sessions["test"] & (sessions["train"] | sessions["valid"])
    if shared:
        remarks.append(
            f"{len(shared)} of the {len(sessions['test'])} sessions of test are also in train or "
            "valid, so that their rooms, dialogues and partners have been heard"
        )
    return [*remarks, *_touching_clips(clips, parts)]


def shared_audio(
    clips: Sequence[Clip], parts: Parts
) -> Iterator[tuple[str, str, dict[int, float]]]:
    """Yield, for each two parts that share audio, their names and the second's clips that do.

    Args:
        clips: All clips of the corpus.
        parts: The split.

    Yields:
        Both names, and the share of its audio for the index of each such clip of the second.
    """
    files = Counter(clip.path for clip in clips)
    # Most corpora have a file for each clip, and nothing is left to compare.
    segments = {
        name: [index for index in indices if files[clips[index].path] > 1]
        for name, indices in parts.items()
    }
    for one, other in combinations([name for name in segments if segments[name]], 2):
        heard = (clips[index] for index in segments[one])
        shares = heard_shares(heard, [clips[index] for index in segments[other]])
        if shares:
            yield one, other, {segments[other][place]: share for place, share in shares.items()}


def copied_clips(clips: Sequence[Clip], parts: Parts, audio_numbers: np.ndarray) -> Iterator[str]:
    """Yield, for each two parts that hold the same audio under two names, a sentence that says so.

    Args:
        clips: All clips of the corpus.
        parts: The split.
        audio_numbers: ``[clips]`` int64, the same for clips of the same audio.
    """
    for one, other in combinations(parts, 2):
        copied = np.isin(audio_numbers[list(parts[other])], audio_numbers[list(parts[one])])
        ids = sorted(
            clips[index].id for index, is_copy in zip(parts[other], copied, strict=True) if is_copy
        )
        if ids:
            yield (
                f"{len(ids):,} of the {len(parts[other]):,} clips of {other} are also in {one}, "
                f"under other names: {some_of(ids)}"
            )


def _heard_clips(clips: Sequence[Clip], parts: Parts) -> Iterator[str]:
    """The same audio in two parts: one of them has been seen before it is scored."""
    for one, other, shares in shared_audio(clips, parts):
        heard = sorted(clips[index].id for index, share in shares.items() if share >= HEARD)
        if heard:
            yield (
                f"{one} and {other} have the same audio, {len(heard)} times: {some_of(heard)}; "
                "list each piece of audio once"
            )


def _touching_clips(clips: Sequence[Clip], parts: Parts) -> Iterator[str]:
    """Segments that run a little into one of another part."""
    for one, other, shares in shared_audio(clips, parts):
        most = max(shares.values())
        yield (
            f"{len(shares)} of the {len(parts[other])} clips of {other} overlap in time with clips "
            f"of {one}, by up to {most:.0%} of their length: "
            f"{some_of(sorted(clips[index].id for index in shares))}"
        )


_WAYS_OUT = {
    "train": "give the split train to some, or leave out the column to have a split drawn",
    "valid": "there are too few clips to take some from train: two of a label are needed",
    "test": "give the split test to some, or leave out the column to have a split drawn",
}
