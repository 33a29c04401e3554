# SPDX-License-Identifier: Apache-2.0
"""The columns that ``--label`` names: labels or values, checked before anything is computed."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from voxadapt.outputs import LABEL, Outputs, ValueOutputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import UsageError

FEWEST_CLIPS = 4
# Columns of a manifest that a clip has in fields of their own.
CLIP_FIELDS = ("speaker", "split", "fold")


def label_names(text: str) -> list[str]:
    """Read ``--label``: one column, or several with commas between.

    Raises:
        UsageError: A name is empty or stands there twice.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(
            f"--label {text}: give the name of a column, or different ones with commas between, as "
            "in emotion,speaker"
        )
    return names


def first_column(text: str) -> str:
    """The first column of ``--label``, whose labels divide the corpus and choose the epoch.

    Raises:
        UsageError: ``--label`` cannot be read.
    """
    return label_names(text)[0]


def column_to_read(outputs: Outputs, given: str | None, *, trained: str = LABEL) -> str:
    """The column of other data whose labels a model is scored by.

    Args:
        outputs: What the model says.
        given: What the user names, if anything.
        trained: The column that a model of a single one was trained on.

    Returns:
        The column given, or else the one that the model was trained on; of a model of several
        columns or of values, the first of them.

    Raises:
        UsageError: Such a model is given another column.
    """
    if isinstance(outputs, ValueOutputs):
        names = list(outputs.names)
    elif len(outputs.columns) == 1:
        return trained if given is None else given
    else:
        names = list(outputs.columns)
    if given not in (None, LABEL, ",".join(names)):
        raise UsageError(
            f"--label {given}: this model was trained on {', '.join(names)} and is scored by those "
            "columns; leave --label out"
        )
    return names[0]


def check_label_columns(clips: list[Clip], options: FinetuneOptions) -> list[Clip]:
    """Check what a fine-tuning run is to learn.

    Args:
        clips: Clips whose label is that of the first column.
        options: The run's options.

    Returns:
        The clips. With ``--task regression``, the label of each becomes the third that its value of
        the first dimension falls into, for whatever wants to divide the clips evenly; the value
        itself is with its other columns.

    Raises:
        DataError: There are too few clips, a column is not there, labels differ by case or spaces
            only, or a value is not a number.
        UsageError: ``--label`` cannot be read.
    """
    names = label_names(options.label)
    if len(clips) < FEWEST_CLIPS:
        raise DataError(
            f"the corpus has {len(clips)} clip{'s' if len(clips) > 1 else ''}; at least "
            f"{FEWEST_CLIPS} are needed, two to train and one each to validate and to test."
        )
    if options.task == "regression":
        return _label_by_thirds(clips, names)
    for name in names:
        check_labels(clips, name, first=names[0])
    return clips


def column_text(clip: Clip, name: str, *, first: str) -> str:
    """What a clip's manifest holds in a column; empty where it holds nothing.

    Args:
        clip: The clip.
        name: The column.
        first: The column that its label was read from.
    """
    if name == first:
        return clip.label or ""
    if name in CLIP_FIELDS:
        return getattr(clip, name) or ""
    return clip.columns.get(name, "")


def check_labels(clips: Sequence[Clip], name: str, *, first: str) -> None:
    """Refuse a column of labels that is not there, or whose labels hardly differ.

    Raises:
        DataError: With every pair of labels that differ by case or spaces only.
    """
    counts = Counter(column_text(clip, name, first=first) for clip in clips)
    counts.pop("", None)
    if not counts:
        known = {column for clip in clips for column in clip.columns} | set(CLIP_FIELDS)
        raise DataError(
            f"--label: no clip has anything in the column {name!r}; the columns are "
            f"{', '.join(sorted(known))}{did_you_mean(name, known)}."
        )
    alike: dict[str, list[str]] = {}
    for label in counts:
        alike.setdefault("".join(label.split()).casefold(), []).append(label)
    problems = [
        " and ".join(f"{label!r} ({counts[label]:,} clips)" for label in sorted(labels))
        for labels in alike.values()
        if len(labels) > 1
    ]
    if problems:
        raise DataError(
            f"labels in the column {name!r} differ by case or spaces only, so one class would be "
            "learnt as several; write them alike:",
            problems,
        )


def column_values(clips: Sequence[Clip], names: Sequence[str]) -> np.ndarray:
    """Read columns of numbers.

    Args:
        clips: ``N`` clips.
        names: ``O`` columns.

    Returns:
        ``[N, O]`` float64.

    Raises:
        DataError: With every value that is not a finite number.
    """
    values = np.zeros((len(clips), len(names)))
    problems = []
    for row, clip in enumerate(clips):
        for column, name in enumerate(names):
            text = value_text(clip, name, first=names[0])
            number = _number(text)
            if number is None:
                problems.append(f"clip {clip.id!r}: {name} is {text!r}")
            else:
                values[row, column] = number
    if problems:
        raise DataError(
            "--task regression: every clip needs a number in each column of --label "
            f"({', '.join(names)}); correct these, or leave those clips out:",
            problems,
        )
    return values


def value_text(clip: Clip, name: str, *, first: str) -> str:
    """What a clip's manifest holds in a column of numbers.

    Args:
        clip: The clip, before or after `check_label_columns`.
        name: The column.
        first: The column that its label was read from.
    """
    return clip.columns.get(name) or ((clip.label or "") if name == first else "")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _label_by_thirds(clips: Sequence[Clip], names: Sequence[str]) -> list[Clip]:
    first = column_values(clips, names)[:, 0]
    edges = np.quantile(first, [1 / 3, 2 / 3])
    thirds = np.searchsorted(edges, first, side="left")
    titles = [f"{third} third of {names[0]}" for third in ("lowest", "middle", "highest")]
    return [
        dataclasses.replace(
            clip,
            label=titles[third],
            columns={**clip.columns, names[0]: value_text(clip, names[0], first=names[0])},
        )
        for clip, third in zip(clips, thirds.tolist(), strict=True)
    ]


def refuse_constant(values: np.ndarray, names: Sequence[str]) -> None:
    """Refuse dimensions of which there is one value only.

    Args:
        values: ``[N, O]`` of the training part.
        names: The dimensions.

    Raises:
        DataError: Naming them.
    """
    constant = [name for name, column in zip(names, values.T, strict=True) if np.ptp(column) == 0]
    if constant:
        raise DataError(
            f"--task regression: every clip of train has the same value of {some_of(constant)}, so "
            "there is nothing to learn; leave it out of --label, or give clips that differ."
        )
