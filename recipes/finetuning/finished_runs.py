# SPDX-License-Identifier: Apache-2.0
"""Runs of a resumed command that are finished: kept as they are, if they are of the same data."""

import json
from collections.abc import Sequence

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import PlannedRun, draw_splits
from voxadapt.recipes.running.command_line import UsageError


def refuse_other_splits(
    plan: Sequence[PlannedRun], clips: Sequence[Clip], options: FinetuneOptions
) -> None:
    """Refuse finished runs whose clips, labels or parts are not those of the present manifest.

    Nothing is trained before: results of two data sets would be averaged.

    Args:
        plan: The runs of the command; those without ``metrics.json`` are not looked at.
        clips: The clips as they are now.
        options: The options, which a resumed command has in common with the one before.

    Raises:
        UsageError: A run's ``split_fingerprint`` is not that of the parts drawn now. Runs of older
            versions have none, and are taken as they are.
    """
    for run in plan:
        file = run.folder / "metrics.json"
        if not file.exists():
            continue
        before = json.loads(file.read_text(encoding="utf-8")).get("split_fingerprint")
        if before is None:
            continue
        if draw_splits(clips, options, run.seed, run.fold).fingerprint(clips) != before:
            raise UsageError(
                f"{run.folder}: --resume found a finished run on other clips, labels or parts: the "
                "manifest has changed since. Put it back as it was, or give another --out"
            )
