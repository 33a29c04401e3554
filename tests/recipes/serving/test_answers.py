# SPDX-License-Identifier: Apache-2.0
"""Predictions of every kind of model as JSON, and the page that documents it."""

from typing import Any

import pytest
import torch

pytest.importorskip("pydantic", reason="needs pip install -e '.[serve]'")

from voxadapt.frame_weights import FrameWeights
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.prediction import Prediction, describe_clip
from voxadapt.recipes.serving.answers import PredictQuery, labels_answer, predict_answer
from voxadapt.recipes.serving.api_page import build_api_page

SEVERAL = LabelOutputs({"emotion": ["calm", "angry"], "speaker": ["a", "b", "c"]})
VALUES = ValueOutputs(["arousal", "valence"], [3.0, 2.0], [1.0, 0.5])


def describe(outputs: Any, logits: list[float]) -> Prediction:
    weights = FrameWeights(torch.tensor([[0.25, 0.75]]), 50.0)
    return describe_clip(
        outputs, torch.tensor(logits), 0.04, torch.tensor([1.0, 2.0]), frame_weights=weights
    )


def sent(prediction: Prediction, **query: Any) -> dict[str, Any]:
    """What is sent: fields that were not set are not."""
    return predict_answer(prediction, PredictQuery(**query)).model_dump(exclude_unset=True)


def test_several_columns_are_told_apart() -> None:
    found = sent(describe(SEVERAL, [0.0, 1.0, 0.0, 2.0, 0.0]))
    assert found["label"] == "angry"
    assert found["columns"].keys() == {"emotion", "speaker"}
    assert found["probabilities"] == found["columns"]["emotion"]
    assert sum(found["columns"]["speaker"].values()) == pytest.approx(1)
    told = labels_answer(SEVERAL)
    assert (told.labels, told.columns["speaker"]) == (["calm", "angry"], ["a", "b", "c"])


def test_values_have_no_label() -> None:
    found = sent(describe(VALUES, [1.0, -2.0]))
    assert found["label"] is None
    assert found["probabilities"] == {}
    assert found["values"] == pytest.approx({"arousal": 4.0, "valence": 1.0})
    assert labels_answer(VALUES).dimensions == ["arousal", "valence"]


def test_more_is_sent_only_where_it_is_asked_for() -> None:
    prediction = describe(SEVERAL, [0.0] * 5)
    assert not {"embedding", "frames", "values"} & sent(prediction).keys()
    found = sent(prediction, embedding=True, frames=True)
    assert found["embedding"] == [1, 2]
    assert found["frames"] == {"times": [0.01, 0.03], "weights": [[0.25, 0.75]]}


def test_the_documentation_escapes_what_it_is_told() -> None:
    schema = {
        "info": {"title": "<i>model</i>", "description": "with `code` & more"},
        "paths": {
            "/x": {
                "post": {
                    "parameters": [
                        {"name": "<b>", "in": "query", "schema": {"type": "number", "default": 3}}
                    ],
                    "responses": {
                        "200": {
                            "content": {
                                "application/json": {
                                    "schema": {"$ref": "#/components/schemas/Answer"}
                                }
                            }
                        }
                    },
                }
            }
        },
        "components": {
            "schemas": {
                "Answer": {
                    "properties": {
                        "many": {"type": "array", "items": {"type": "string"}},
                        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                        "named": {"type": "object", "additionalProperties": {"type": "number"}},
                    }
                }
            }
        },
    }
    page = build_api_page(schema, "http://x")
    assert "<i>" not in page
    assert "<b>" not in page
    assert "with <code>code</code> &amp; more" in page
    for kind in ("number (default 3)", "list of string", ">integer<", "number by name"):
        assert kind in page
