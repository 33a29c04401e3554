# SPDX-License-Identifier: Apache-2.0
"""What finetune would say of a manifest, before it is started on it."""

from collections.abc import Sequence
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.finetuning.label_columns import check_label_columns
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import check_splits, plan_runs
from voxadapt.recipes.running.command_line import UsageError


def refusal(clips: Sequence[Clip], options: FinetuneOptions) -> str | None:
    """Check the labels and parts of a manifest as finetune does; nothing is written.

    Args:
        clips: Its clips.
        options: The options that finetune would be given.

    Returns:
        The message of the refusal; None where finetune would begin.
    """
    try:
        checked = check_label_columns(list(clips), options)
        check_splits(checked, options, plan_runs(checked, options, Path(options.out)))
    except (DataError, UsageError) as error:
        return str(error)
    return None
