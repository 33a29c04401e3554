# SPDX-License-Identifier: Apache-2.0
"""Eight bits: for the linear layers, and for nothing in float64."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
pytest.importorskip("onnxruntime", reason="needs pip install -e '.[onnx]'")

from voxadapt.recipes.exporting.int8 import quantize  # noqa: E402
from voxadapt.recipes.exporting.onnx_session import OnnxModel  # noqa: E402


@pytest.fixture
def fp32(tmp_path: Path) -> Path:
    """A file whose windows of four samples go through a float64 and a float32 product."""
    helper, kinds, arrays = onnx.helper, onnx.TensorProto, onnx.numpy_helper
    random = np.random.default_rng(0)
    spectrum = random.standard_normal((4, 8))
    weight = random.standard_normal((8, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["waveforms"], ["exact"], to=kinds.DOUBLE),
            helper.make_node("MatMul", ["exact", "spectrum"], ["power"]),
            helper.make_node("Cast", ["power"], ["frames"], to=kinds.FLOAT),
            helper.make_node("MatMul", ["frames", "weight"], ["logits"]),
            helper.make_node("Identity", ["lengths"], ["counted"]),
        ],
        "small",
        [
            helper.make_tensor_value_info("waveforms", kinds.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("lengths", kinds.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("logits", kinds.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("counted", kinds.INT64, ["batch"]),
        ],
        [arrays.from_array(spectrum, "spectrum"), arrays.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    entry = model.metadata_props.add()
    entry.key, entry.value = "voxadapt", json.dumps({"labels": ["a"], "quantization": None})
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_linear_layers_become_eight_bits_and_the_spectrum_stays(fp32: Path) -> None:
    out = fp32.with_name("m.int8.onnx")
    quantize(fp32, out)
    types = {item.name: item.data_type for item in onnx.load(out).graph.initializer}
    assert types["spectrum"] == onnx.TensorProto.DOUBLE
    assert types["weight_quantized"] == onnx.TensorProto.INT8
    assert "weight" not in types
    clips = list(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    exact, rounded = OnnxModel(fp32).run(clips)["logits"], OnnxModel(out).run(clips)["logits"]
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_the_metadata_says_that_it_is_rounded(fp32: Path) -> None:
    out = fp32.with_name("m.int8.onnx")
    quantize(fp32, out)
    assert OnnxModel(out).metadata == {
        "labels": ["a"],
        "quantization": "int8, dynamic",
        "padding_exact": False,
    }
