# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.prediction import describe_clip

EMBEDDING = torch.zeros(3)


def test_of_several_columns_the_first_is_the_label() -> None:
    outputs = LabelOutputs({"emotion": ["angry", "sad"], "speaker": ["x", "y", "z"]})
    logits = torch.tensor([0.25, 0.75, 0.5, 0.125, 0.375]).log()
    found = describe_clip(outputs, logits, 1.5, EMBEDDING)
    assert (found.label, found.seconds) == ("sad", 1.5)
    assert found.probabilities == pytest.approx({"angry": 0.25, "sad": 0.75})
    assert found.confidence == found.probabilities["sad"]
    assert found.columns.keys() == {"emotion", "speaker"}
    assert found.columns["emotion"] == found.probabilities
    assert found.columns["speaker"] == pytest.approx({"x": 0.5, "y": 0.125, "z": 0.375})
    assert torch.equal(found.logits, logits)
    assert found.frame_weights is None
    assert found.values == {}
    assert found.embedding is EMBEDDING


def test_values_have_no_label() -> None:
    outputs = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
    found = describe_clip(outputs, torch.tensor([2.5, -1.0]), 1.5, EMBEDDING)
    assert found.label is None
    assert found.probabilities == found.columns == {}
    assert found.values == {"arousal": 2.5, "valence": -1.0}
    assert found.confidence is None


def test_as_many_numbers_as_names() -> None:
    outputs = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="logits: found 1 for 2 outputs"):
        describe_clip(outputs, torch.tensor([2.5]), 1.5, EMBEDDING)


def test_of_allowed_labels_the_probabilities_add_up_to_one() -> None:
    outputs = LabelOutputs({"emotion": ["angry", "happy", "sad"], "speaker": ["x", "y"]})
    logits = torch.tensor([0.5, 0.2, 0.3, 0.25, 0.75]).log()
    allowed = torch.tensor([False, True, True, True, True])
    found = describe_clip(outputs, logits, 1.0, EMBEDDING, allowed=allowed)
    assert found.label == "sad"
    assert found.probabilities == pytest.approx({"happy": 0.4, "sad": 0.6})
    assert found.columns["speaker"] == pytest.approx({"x": 0.25, "y": 0.75})
    assert torch.equal(found.logits, logits)  # of all labels


def test_the_temperature_is_in_the_probabilities_and_not_in_the_logits() -> None:
    logits = torch.tensor([2.0, 0.0])
    cold = describe_clip(LabelOutputs({"label": ["a", "b"]}), logits, 1.0, EMBEDDING)
    warm = LabelOutputs({"label": ["a", "b"]}, {"label": 2.0})
    found = describe_clip(warm, logits, 1.0, EMBEDDING)
    assert found.probabilities == pytest.approx(
        {"a": 1 / (1 + math.exp(-1)), "b": 1 / (1 + math.e)}
    )
    assert found.label == cold.label == "a"
    assert found.confidence < cold.confidence  # type: ignore[operator]
    assert torch.equal(found.logits, logits)
