# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.prediction import describe_clip

EMBEDDING = torch.zeros(3)


def test_of_several_columns_the_first_is_the_label() -> None:
    outputs = LabelOutputs({"emotion": ["angry", "sad"], "speaker": ["x", "y", "z"]})
    found = describe_clip(outputs, torch.tensor([0.25, 0.75, 0.5, 0.125, 0.375]), 1.5, EMBEDDING)
    assert (found.label, found.seconds) == ("sad", 1.5)
    assert found.probabilities == {"angry": 0.25, "sad": 0.75}
    assert found.columns == {
        "emotion": {"angry": 0.25, "sad": 0.75},
        "speaker": {"x": 0.5, "y": 0.125, "z": 0.375},
    }
    assert found.values == {}
    assert found.embedding is EMBEDDING


def test_values_have_no_label() -> None:
    outputs = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
    found = describe_clip(outputs, torch.tensor([2.5, -1.0]), 1.5, EMBEDDING)
    assert found.label is None
    assert found.probabilities == found.columns == {}
    assert found.values == {"arousal": 2.5, "valence": -1.0}


def test_as_many_numbers_as_names() -> None:
    outputs = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="zip"):
        describe_clip(outputs, torch.tensor([2.5]), 1.5, EMBEDDING)
