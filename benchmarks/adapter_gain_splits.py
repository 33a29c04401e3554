# SPDX-License-Identifier: Apache-2.0
"""The parts that `adapter_gain.py` trains, selects and tests on, as manifests."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from adapter_gain_cells import FOLDS, Protocol

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.split_checks import shared_speakers
from voxadapt.recipes.corpora.splits import make_splits

Parts = dict[str, list[int]]
COLUMNS = ("id", "path", "start", "end", "label", "speaker", "split")


def speaker_folds(clips: Sequence[Clip], folds: int = FOLDS) -> list[int]:
    """Cut a corpus into folds by speaker, with labels spread over them as evenly as speakers allow.

    Depends on speakers and labels only: on no seed, and not on the order of the clips.

    Args:
        clips: All clips, with labels and speakers.
        folds: How many.

    Returns:
        The fold of each clip, from 0.

    Raises:
        ValueError: A speaker is unknown.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if not all(clip.speaker for clip in clips):
        raise ValueError("folds by speaker need the speaker of every clip")
    labels, speakers = [clip.label for clip in clips], [clip.speaker for clip in clips]
    found = np.empty(len(clips), dtype=int)
    splitter = StratifiedGroupKFold(folds)
    for fold, (_, tested) in enumerate(splitter.split(np.zeros(len(clips)), labels, speakers)):
        found[tested] = fold
    return found.tolist()


def divide(clips: Sequence[Clip], protocol: Protocol, fold: int | None, seed: int) -> Parts:
    """Train, validation and test part, as `finetune` would make them.

    Args:
        clips: All clips of the corpus.
        protocol: How the corpus is divided.
        fold: The fold to test.
        seed: What the validation part depends on.

    Raises:
        DataError: The corpus cannot be divided so; by folds, if test shares speakers.
    """
    if fold is not None:
        numbers = speaker_folds(clips)
        if protocol.nested:
            outer, inner = divmod(fold, FOLDS)
            rest = [index for index, number in enumerate(numbers) if number != outer]
            protocol = dataclasses.replace(protocol, nested=False)
            parts = divide([clips[index] for index in rest], protocol, inner, seed)
            return {name: [rest[index] for index in part] for name, part in parts.items()}
        clips = [
            dataclasses.replace(clip, fold=str(number))
            for clip, number in zip(clips, numbers, strict=True)
        ]
    splits = make_splits(
        clips,
        seed=stable_seed(seed, "splits"),
        fold=None if fold is None else str(fold),
        allow_speaker_overlap=not protocol.folds,
    )
    return splits.parts()


def cut_labels(clips: Sequence[Clip], parts: Parts, share: int, seed: int) -> Parts:
    """Leave a share of the labels to train and to choose the epoch by; test stays whole.

    Args:
        clips: All clips of the corpus.
        parts: Its parts.
        share: Percent of the clips of each label that stay in train, and in validation.
        seed: What the choice depends on, besides the clips' ids.
    """
    if share == 100:
        return parts
    return {
        name: indices if name == "test" else take_share(clips, indices, share, seed)
        for name, indices in parts.items()
    }


def take_share(clips: Sequence[Clip], indices: Sequence[int], share: int, seed: int) -> list[int]:
    """A share of each label's clips, at least one; a smaller share is part of a larger one.

    Args:
        clips: All clips of the corpus.
        indices: Those to choose from.
        share: Percent.
        seed: What the choice depends on, besides the clips' ids.

    Returns:
        The indices chosen, ascending.
    """
    by_label: dict[str | None, list[int]] = {}
    for index in indices:
        by_label.setdefault(clips[index].label, []).append(index)
    chosen: list[int] = []
    for members in by_label.values():
        members.sort(key=lambda index: (stable_seed(seed, "share", clips[index].id), index))
        chosen += members[: max(1, round(len(members) * share / 100))]
    return sorted(chosen)


def parts_share_speakers(clips: Sequence[Clip], parts: Parts) -> bool:
    """Whether any two parts have a speaker in common."""
    return bool(shared_speakers(clips, parts))


def manifest_rows(clips: Sequence[Clip], parts: Parts) -> list[dict[str, str]]:
    """Rows of a manifest of the clips in the parts, in the corpus's order.

    Ids stay those of the corpus, because what is drawn for a clip depends on its id.
    """
    part = {index: name for name, indices in parts.items() for index in indices}
    return [
        {
            "id": clips[index].id,
            "path": str(clips[index].path),
            "start": _seconds(clips[index].start),
            "end": _seconds(clips[index].end),
            "label": clips[index].label or "",
            "speaker": clips[index].speaker or "",
            "split": part[index],
        }
        for index in sorted(part)
    ]


def write_manifest(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows as CSV; the same rows give the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, content)


def _seconds(value: float | None) -> str:
    return "" if value is None else repr(value)
