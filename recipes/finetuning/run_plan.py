# SPDX-License-Identifier: Apache-2.0
"""The runs that one command asks for: each fold with each seed, each in a folder of its own."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.protocols import (
    Protocol,
    default_protocol,
    distinct_folds,
    find_protocol,
    folds_of_clips,
)
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.splits import Splits, make_splits
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import UsageError


@dataclass(frozen=True)
class PlannedRun:
    """One training with its test.

    Attributes:
        fold: The fold that is tested; None where the protocol has no folds.
        seed: Seed of everything random.
        folder: Where it writes.
    """

    fold: str | None
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """What a user calls it."""
        seed = f"seed {self.seed}"
        return seed if self.fold is None else f"fold {self.fold}, {seed}"


def plan_runs(clips: Sequence[Clip], options: FinetuneOptions, out: Path) -> list[PlannedRun]:
    """List the runs, folds in natural order, seeds within them; a single one is in `out` itself.

    Raises:
        UsageError: A fold is asked for of a protocol that has none.
        DataError: The manifest lacks what the protocol needs.
    """
    folds = chosen_folds(clips, options)
    pairs = [(fold, options.seed + number) for fold in folds for number in range(options.seeds)]
    if len(pairs) == 1:
        return [PlannedRun(*pairs[0], out)]
    return [
        PlannedRun(fold, seed, out / f"fold-{folder_name(fold)}" / f"seed-{seed}")
        for fold, seed in pairs
    ]


def chosen_protocol(clips: Sequence[Clip], options: FinetuneOptions) -> Protocol:
    """The protocol that is asked for, or the one that the manifest speaks for."""
    if options.protocol:
        return find_protocol(options.protocol)
    return default_protocol(clips, fold=options.fold is not None)


def chosen_folds(clips: Sequence[Clip], options: FinetuneOptions) -> list[str | None]:
    """The folds to run: ``[None]`` where the protocol has none.

    Raises:
        UsageError: A fold is asked for of a protocol that has none.
        DataError: The manifest lacks what the protocol needs.
    """
    protocol = chosen_protocol(clips, options)
    if not protocol.has_folds:
        if options.fold is not None:
            raise UsageError(
                f"--fold {options.fold}: protocol {protocol.name} has no folds; leave --fold out, "
                "or ask for another --protocol"
            )
        return [None]
    if options.fold not in (None, "all"):
        return [options.fold]
    count, seed = options.num_folds, fold_seed(options)
    return list(distinct_folds(folds_of_clips(clips, protocol, count=count, seed=seed)))


def draw_splits(
    clips: Sequence[Clip], options: FinetuneOptions, seed: int, fold: str | None
) -> Splits:
    """Train, validation and test part of one run."""
    drawn_by = seed if options.split_seed is None else options.split_seed
    return make_splits(
        clips,
        seed=stable_seed(drawn_by, "splits"),
        fold=fold,
        protocol=options.protocol,
        fold_count=options.num_folds,
        fold_seed=fold_seed(options),
        allow_speaker_overlap=options.allow_speaker_overlap,
        validation=options.validation,
        need_classes=options.task == "classification",
    )


def fold_seed(options: FinetuneOptions) -> int:
    """What drawn folds depend on: the same for all seeds of a command, so that folds stay folds."""
    drawn_by = options.seed if options.split_seed is None else options.split_seed
    return stable_seed(drawn_by, "splits")


def check_splits(clips: Sequence[Clip], options: FinetuneOptions, plan: list[PlannedRun]) -> None:
    """Draw the parts of every fold once, before anything is computed.

    Raises:
        DataError: With the problems of all folds.
    """
    first: dict[str | None, PlannedRun] = {}
    for run in plan:
        first.setdefault(run.fold, run)
    problems: list[str] = []
    for fold, run in first.items():
        try:
            draw_splits(clips, options, run.seed, fold)
        except DataError as error:
            if len(first) == 1:
                raise
            details = error.problems or [error.headline]
            problems += [f"fold {fold!r}: {detail}" for detail in details]
    if problems:
        raise DataError("the splits of these folds cannot be used:", problems)


def folder_name(fold: str | None) -> str:
    """A fold as part of a path, on any file system."""
    if fold is None:
        return "none"
    safe = re.sub(r"^\.|[^\w.-]", "_", fold)
    if safe == fold:
        return fold
    return f"{safe}-{hashlib.sha256(fold.encode()).hexdigest()[:6]}"
