# SPDX-License-Identifier: Apache-2.0
"""What the log tells of a training before its first step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from accelerate import Accelerator

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.finetuning.fit_classifier import plan_epoch
from voxadapt.recipes.finetuning.labelled_frames import UNKNOWN, LabelledFrames
from voxadapt.recipes.finetuning.start_lines import describe_classes, describe_training

Make = Callable[..., Any]


def test_the_clips_of_each_class_that_train(data: LabelledFrames) -> None:
    data.targets[:, 0] = UNKNOWN
    data.targets[data.splits.train[:3], 0] = [2, 0, 2]  # what only tests is not counted
    assert describe_classes(data) == "clips to train: {} 1, {} 0, {} 2".format(*data.labels)


def test_many_classes_are_told_by_the_smallest_and_the_largest(data: LabelledFrames) -> None:
    labels = [f"c{number:02}" for number in range(20)]
    counts = [2] * 18 + [1, 5]
    classes = np.repeat(np.arange(20), counts)[:, None]
    splits = dataclasses.replace(data.splits, train=list(range(len(classes))))
    outputs = LabelOutputs({"label": labels})
    many = dataclasses.replace(data, outputs=outputs, targets=classes, splits=splits)
    told = "clips to train: 2 in the median of 20 classes, from 1 (c18) to 5 (c19)"
    assert describe_classes(many) == told


def test_values_have_no_classes(data: LabelledFrames) -> None:
    outputs = ValueOutputs(("valence",), (0.0,), (1.0,))
    assert describe_classes(dataclasses.replace(data, outputs=outputs)) == ""


def test_epochs_steps_and_device(
    data: LabelledFrames, make_options: Make, accelerator: Accelerator
) -> None:
    steps = len(plan_epoch(data, make_options(), 0, 0, 25))
    assert steps == 2
    told = describe_training(data, make_options(), 0, accelerator)
    assert told == f"training on {accelerator.device.type}: 3 epochs of about 2 steps"
    told = describe_training(data, make_options(patience=2), 0, accelerator)
    assert "at most 3 epochs" in told
    told = describe_training(data, make_options(patience=2), 0, accelerator, epochs=1)
    assert ": 1 epoch of" in told
