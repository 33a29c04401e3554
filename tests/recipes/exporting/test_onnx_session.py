# SPDX-License-Identifier: Apache-2.0
"""A file at work in onnxruntime: batches are padded, the metadata is read."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
pytest.importorskip("onnxruntime", reason="needs pip install -e '.[onnx]'")

from voxadapt.recipes.exporting.onnx_session import OnnxModel  # noqa: E402


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A file that gives its inputs back."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["waveforms"], ["heard"]),
            helper.make_node("Identity", ["lengths"], ["counted"]),
        ],
        "echo",
        [
            helper.make_tensor_value_info("waveforms", kinds.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("lengths", kinds.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("heard", kinds.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("counted", kinds.INT64, ["batch"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    entries = {"voxadapt": json.dumps({"labels": ["böse"]}), "another.tool": "not JSON"}
    for key, value in entries.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, tmp_path / "echo.onnx")
    return tmp_path / "echo.onnx"


def test_clips_are_padded_on_the_right_with_the_filler(echo: Path) -> None:
    found = OnnxModel(echo).run([torch.ones(2), torch.full((4,), 2.0)], filler=math.nan)
    assert found["counted"].tolist() == [2, 4]
    nan = math.nan
    np.testing.assert_array_equal(found["heard"], [[1, 1, nan, nan], [2, 2, 2, 2]])


def test_the_metadata_is_read_beside_that_of_other_tools(echo: Path) -> None:
    model = OnnxModel(echo)
    assert model.metadata == {"labels": ["böse"]}
    assert model.names == ["heard", "counted"]
