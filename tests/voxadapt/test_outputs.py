# SPDX-License-Identifier: Apache-2.0
"""What a model's outputs mean, and that a config keeps it."""

import json
from typing import Any

import pytest
import torch

from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs, as_outputs, outputs_from_config

ONE = LabelOutputs({"label": ["a", "b", "c"]})
TWO = LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y", "z"]})
VALUES = ValueOutputs(["arousal", "valence"], [3.0, -1.0], [2.0, 0.5])
WARM = LabelOutputs({"label": ["a", "b", "c"]}, {"label": 2.0})
HALF_WARM = LabelOutputs(TWO.columns, {"speaker": 4.0})


@pytest.mark.parametrize("outputs", [ONE, TWO, VALUES, WARM, HALF_WARM])
def test_the_config_builds_it_again(outputs: Outputs) -> None:
    config = json.loads(json.dumps(outputs.config()))
    built = outputs_from_config(config)
    assert built.config() == config
    logits = torch.randn(4, outputs.size)
    assert torch.equal(built.activate(logits), outputs.activate(logits))


def test_one_column_of_labels_is_what_models_have_always_saved() -> None:
    assert ONE.config() == {"labels": ["a", "b", "c"]}
    assert as_outputs(["a", "b", "c"]) == ONE
    assert as_outputs(VALUES) is VALUES
    logits = torch.randn(5, 3).double()
    assert torch.equal(ONE.activate(logits), logits.softmax(dim=-1))


def test_a_config_without_temperatures_is_that_of_older_models() -> None:
    assert outputs_from_config({"labels": ["a", "b", "c"]}) == ONE
    assert WARM.config() == {"labels": ["a", "b", "c"], "temperatures": {"label": 2.0}}
    # The name of an only column is not kept.
    named = LabelOutputs({"emotion": ["a", "b", "c"]}, {"emotion": 2.0})
    assert outputs_from_config(named.config()) == WARM


def test_a_temperature_divides_the_logits_of_its_column() -> None:
    logits = torch.randn(4, 5)
    probabilities = HALF_WARM.activate(logits)
    torch.testing.assert_close(probabilities[:, :2], logits[:, :2].softmax(dim=-1))
    torch.testing.assert_close(probabilities[:, 2:], (logits[:, 2:] / 4).softmax(dim=-1))
    torch.testing.assert_close(HALF_WARM.scale(logits)[:, 2:], logits[:, 2:] / 4)
    assert torch.equal(TWO.scale(logits), logits)
    assert torch.equal(VALUES.scale(logits), logits)


def test_each_column_s_probabilities_add_up_to_one() -> None:
    logits = torch.randn(4, 5)
    probabilities = TWO.activate(logits)
    torch.testing.assert_close(probabilities[:, :2], logits[:, :2].softmax(dim=-1))
    torch.testing.assert_close(probabilities[:, 2:], logits[:, 2:].softmax(dim=-1))
    assert [tuple(part.shape) for part in TWO.split(logits)] == [(4, 2), (4, 3)]
    assert TWO.labels == ["a", "b"]


def test_values_are_in_the_units_of_the_labels() -> None:
    outputs = torch.tensor([[0.0, 0.0], [1.0, -2.0]])
    values = torch.tensor([[3.0, -1.0], [5.0, -2.0]])
    assert torch.equal(VALUES.activate(outputs), values)
    assert torch.equal(VALUES.standardize(values), outputs)
    assert VALUES.labels == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelOutputs({}), "columns: found none"),
        (lambda: LabelOutputs({"emotion": []}), "labels of 'emotion': found \\[\\]"),
        (lambda: LabelOutputs({"emotion": ["a", "a"]}), "each once"),
        (lambda: LabelOutputs({"emotion": "ab"}), "found 'ab', give a list of names"),
        (lambda: LabelOutputs({"emotion": [1, 2]}), "give a list of names"),
        (lambda: LabelOutputs({"emotion": ["a"]}, {"speaker": 1.0}), "the columns are emotion"),
        (lambda: LabelOutputs({"emotion": ["a"]}, {"emotion": 0.0}), "must be above 0"),
        (lambda: LabelOutputs({"emotion": ["a"]}, {"emotion": float("nan")}), "found nan"),
        (lambda: ValueOutputs([], [], []), "names, mean and std: found 0, 0 and 0"),
        (lambda: ValueOutputs(["a"], [0.0], [1.0, 2.0]), "found 1, 1 and 2"),
        (lambda: ValueOutputs(["a"], [0.0], [0.0]), "std: found \\[0.0\\], must be above 0"),
        (lambda: ValueOutputs(["a"], [0.0], [float("inf")]), "std: found \\[inf\\]"),
        (
            lambda: ValueOutputs(["a"], [float("nan")], [1.0]),
            "mean: found \\[nan\\], must be finite",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_config_without_them_is_refused() -> None:
    with pytest.raises(KeyError, match="labels"):
        outputs_from_config({"class": "SpeechClassifier"})
