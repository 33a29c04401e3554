# SPDX-License-Identifier: Apache-2.0
"""Labels and values as numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.finetuning.labelled_frames import number_targets, targets_for

Make = Callable[..., Any]


def make_clips(labels: str, speakers: str) -> list[Clip]:
    return [
        Clip(f"c{row}", Path(f"{row}.wav"), label=label, speaker=speaker.strip() or None)
        for row, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]


def test_classes_are_those_of_train_sorted(make_options: Make) -> None:
    clips = make_clips("baca", "xxyy")
    outputs, targets = number_targets(clips, [0, 1, 3], make_options(label="emotion"))
    assert outputs == LabelOutputs({"emotion": ["a", "b"]})
    assert targets.dtype == np.int64
    assert targets.tolist() == [[1], [0], [-1], [0]]


def test_further_columns_may_hold_what_train_does_not_have(make_options: Make) -> None:
    clips = make_clips("abab", "xyz ")
    outputs, targets = number_targets(clips, [0, 1], make_options(label="emotion,speaker"))
    assert outputs == LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y"]})
    assert targets.tolist() == [[0, 0], [1, 1], [0, -1], [1, -1]]
    assert targets_for(outputs, clips).tolist() == targets.tolist()


def test_a_further_column_of_one_label_is_refused(make_options: Make) -> None:
    with pytest.raises(DataError, match=r"only the labels \['x'\] in the column 'speaker'"):
        number_targets(make_clips("abab", "xxyy"), [0, 1], make_options(label="emotion,speaker"))


def test_values_are_standardised_by_train(make_options: Make) -> None:
    clips = make_clips("1359", "xxyy")
    options = make_options(task="regression", label="arousal")
    outputs, targets = number_targets(clips, [0, 1], options)
    assert outputs == ValueOutputs(["arousal"], [2.0], [1.0])
    assert targets.tolist() == [[1.0], [3.0], [5.0], [9.0]]
    with pytest.raises(DataError, match="every clip of train has the same value of 'arousal'"):
        number_targets(make_clips("1159", "xxyy"), [0, 1], options)


def test_class_weights_of_each_column_count_the_known_clips_of_train(make_data: Make) -> None:
    outputs = LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y"]})
    targets = np.array([[0, 0], [0, -1], [0, 0], [1, 1], [0, 0], [1, 1], [1, 1], [1, 1]])
    weights = make_data(outputs, targets).class_weights  # the first five train
    np.testing.assert_allclose(weights[0], [5 / (2 * 4), 5 / (2 * 1)])
    np.testing.assert_allclose(weights[1], [4 / (2 * 3), 4 / (2 * 1)])
