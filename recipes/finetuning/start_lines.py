# SPDX-License-Identifier: Apache-2.0
"""What the log tells of a training before its first step: clips of each class, steps, device."""

import numpy as np
from accelerate import Accelerator

from voxadapt.outputs import LabelOutputs
from voxadapt.recipes.corpora.batching import padded_budget
from voxadapt.recipes.finetuning.fit_classifier import plan_epoch
from voxadapt.recipes.finetuning.labelled_frames import UNKNOWN, LabelledFrames
from voxadapt.recipes.finetuning.options import FinetuneOptions

SHOWN_CLASSES = 12
"""Of more classes, only the smallest and the largest are named."""


def describe_classes(data: LabelledFrames) -> str:
    """How many clips of each class train; of several label columns, the first one's.

    Args:
        data: Clips, frames and splits.

    Returns:
        One line; nothing where values are learnt.
    """
    if not isinstance(data.outputs, LabelOutputs):
        return ""
    classes, labels = data.targets[data.splits.train, 0], data.labels
    counts = np.bincount(classes[classes != UNKNOWN], minlength=len(labels)).tolist()
    if len(labels) <= SHOWN_CLASSES:
        found = zip(labels, counts, strict=True)
        return "clips to train: " + ", ".join(f"{label} {count:,}" for label, count in found)
    few, many = int(np.argmin(counts)), int(np.argmax(counts))
    return (
        f"clips to train: {np.median(counts):,.0f} in the median of {len(labels):,} classes, from "
        f"{counts[few]:,} ({labels[few]}) to {counts[many]:,} ({labels[many]})"
    )


def describe_training(
    data: LabelledFrames,
    options: FinetuneOptions,
    seed: int,
    accelerator: Accelerator,
    *,
    epochs: int | None = None,
) -> str:
    """Where a training runs and how long it is.

    Args:
        data: Clips, frames and splits.
        options: The run's options.
        seed: The run's seed.
        accelerator: The process group.
        epochs: As `fit` takes it.

    Returns:
        One line. Steps are those of the first epoch; clips are batched anew for each, so others may
        have one more or less.
    """
    budget = padded_budget(options.batch_seconds, data.frame_rate)
    steps = len(plan_epoch(data, options, seed, 0, budget))
    where = accelerator.device.type
    if accelerator.num_processes > 1:
        where += f", {accelerator.num_processes} processes"
    most = "at most " if options.patience is not None and epochs is None else ""
    passes = options.epochs if epochs is None else epochs
    return f"training on {where}: {most}{_count(passes, 'epoch')} of about {_count(steps, 'step')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
