# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuning run learns from: clips, their frames, and labels or values as numbers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.corpora.splits import Splits
from voxadapt.recipes.finetuning.label_columns import (
    column_text,
    column_values,
    label_names,
    refuse_constant,
)
from voxadapt.recipes.finetuning.options import FinetuneOptions

UNKNOWN = -1
"""Class of a label that the training part does not have, or that is left empty."""


@dataclass
class LabelledFrames:
    """What a run learns from.

    Attributes:
        clips: All clips.
        store: Their frames, in the same order.
        outputs: What the model is to say: labels of one or several columns, or values.
        targets: ``[clips, columns]`` int64, class of each clip in each label column (`UNKNOWN`
            where train does not have it); or ``[clips, dimensions]`` float64 values.
        splits: Which clips train, choose and test.
        frame_rate: Frames a second.
        feature_period: Features of the adapter's input after which frequency bands repeat (see
            `draw_spec_augment`).
    """

    clips: list[Clip]
    store: FeatureStore
    outputs: Outputs
    targets: np.ndarray
    splits: Splits
    frame_rate: float
    feature_period: int

    @property
    def labels(self) -> list[str]:
        """Names of the classes of the first label column, sorted; they number the classes."""
        return self.outputs.labels

    @cached_property
    def class_weights(self) -> list[np.ndarray]:
        """Of each label column, weights ``[C]`` under which all classes of train count the same.

        ``N / (C · n_c)``, scikit-learn's "balanced": over the clips of train their mean is 1, so
        that neither the loss nor the learning rate changes its scale.
        """
        if not isinstance(self.outputs, LabelOutputs):
            return []
        found = []
        for column, labels in enumerate(self.outputs.columns.values()):
            classes = self.targets[self.splits.train, column]
            counts = np.bincount(classes[classes != UNKNOWN], minlength=len(labels))
            found.append(counts.sum() / (len(labels) * counts))
        return found

    def fingerprint(self) -> str:
        """A hash of what a run learns from and is chosen by: clips, lengths, targets, parts."""
        outputs = self.outputs  # without temperatures, which are found at the end
        names = outputs.columns if isinstance(outputs, LabelOutputs) else outputs.names
        found = hashlib.sha256(repr(names).encode())
        for name, part in self.splits.parts().items():
            if name == "test":  # it has no say in training
                continue
            found.update(f"\n{name}\n".encode())
            found.update("\n".join(self.clips[index].id for index in part).encode())
            found.update(np.asarray(self.store.lengths)[part].astype("<i8").tobytes())
            found.update(np.ascontiguousarray(self.targets[part]).tobytes())
        return found.hexdigest()


def number_targets(
    clips: Sequence[Clip], train: Sequence[int], options: FinetuneOptions
) -> tuple[Outputs, np.ndarray]:
    """Turn labels or values into numbers.

    Classes are numbered by the sorted labels of the training part. In the columns after the first
    a label that train does not have, as a speaker in speaker-disjoint parts, is `UNKNOWN`: it is
    neither learnt nor scored.

    Args:
        clips: All clips.
        train: Those of the training part.
        options: The run's options.

    Returns:
        What the model is to say, and ``[clips, columns]`` targets, as `LabelledFrames` has them.

    Raises:
        DataError: A further column has one label only in train, or a dimension one value.
    """
    names = label_names(options.label)
    if options.task == "regression":
        values = column_values(clips, names)
        trained = values[list(train)]
        refuse_constant(trained, names)
        mean, std = trained.mean(axis=0).tolist(), trained.std(axis=0).tolist()
        return ValueOutputs(names, mean, std), values
    columns: dict[str, list[str]] = {}
    for name in names:
        labels = sorted({column_text(clips[index], name, first=names[0]) for index in train} - {""})
        if len(labels) < 2:
            raise DataError(
                f"--label: train has only the labels {labels} in the column {name!r}; at least two "
                "classes must be in train. Leave this column out."
            )
        columns[name] = labels
    outputs = LabelOutputs(columns)
    return outputs, targets_for(outputs, clips)


def targets_for(outputs: Outputs, clips: Sequence[Clip]) -> np.ndarray:
    """Turn the labels or values of clips into the numbers that a model knows them by.

    Args:
        outputs: What the model says; a single label column may go by another name there.
        clips: ``N`` clips, whose label is that of the first column.

    Returns:
        ``[N, columns]`` targets, as `LabelledFrames` has them.

    Raises:
        DataError: A value is not a number.
    """
    if isinstance(outputs, ValueOutputs):
        return column_values(clips, outputs.names)
    targets = np.full((len(clips), len(outputs.columns)), UNKNOWN, dtype=np.int64)
    first = next(iter(outputs.columns))
    for column, (name, labels) in enumerate(outputs.columns.items()):
        number = {label: row for row, label in enumerate(labels)}
        for row, clip in enumerate(clips):
            targets[row, column] = number.get(column_text(clip, name, first=first), UNKNOWN)
    return targets
