# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.allowed_labels import AllowedLabels, allowed_mask
from voxadapt.outputs import LabelOutputs, ValueOutputs

OUTPUTS = LabelOutputs({"emotion": ["angry", "happy", "sad"], "speaker": ["x", "y"]})


def test_a_list_is_of_the_first_column() -> None:
    mask = allowed_mask(OUTPUTS, ["sad", "angry"])
    assert mask is not None
    assert mask.tolist() == [True, False, True, True, True]
    assert allowed_mask(OUTPUTS, None) is None


def test_columns_go_by_their_name() -> None:
    mask = allowed_mask(OUTPUTS, {"speaker": {"y"}, "emotion": ("happy",)})
    assert mask is not None
    assert mask.tolist() == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (["angri"], "found label 'angri', the model knows angry, happy, sad. Did you mean 'angry'"),
        ({"speaker": ["z"]}, "found label 'z', the model knows x, y"),
        ({"speakers": ["x"]}, "found column 'speakers', .* Did you mean 'speaker'"),
        ([], "allowed_labels of 'emotion': found none"),
        ("angry", "found 'angry', give a list of labels: \\['angry'\\]"),
        ({"speaker": "x"}, "found 'x', give a list of labels: \\['x'\\]"),
    ],
)
def test_what_the_model_does_not_know_is_refused(allowed: AllowedLabels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        allowed_mask(OUTPUTS, allowed)


def test_a_model_of_values_has_no_labels_to_allow() -> None:
    outputs = ValueOutputs(["arousal"], [0.0], [1.0])
    with pytest.raises(ValueError, match=r"gives values \(arousal\) and knows no labels"):
        allowed_mask(outputs, ["angry"])
    assert allowed_mask(outputs, None) is None
