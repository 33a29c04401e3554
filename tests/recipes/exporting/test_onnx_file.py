# SPDX-License-Identifier: Apache-2.0
"""ONNX files: what they say of themselves, and of each family one that gives what torch gives."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.backbones import Lora, OpenLayers
from voxadapt.outputs import LabelOutputs, ValueOutputs

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="needs pip install -e '.[onnx]'")

from voxadapt.recipes.exporting import onnx_file  # noqa: E402
from voxadapt.recipes.exporting.onnx_session import OnnxModel  # noqa: E402
from voxadapt.recipes.exporting.parity import LIMIT, check_parity  # noqa: E402

Make = Callable[..., Any]
COLUMNS = LabelOutputs(
    {"emotion": ["sad", "glad"], "speaker": ["s1", "s2", "s3"]}, temperatures={"emotion": 2.5}
)
VALUES = ValueOutputs(["arousal", "valence"], mean=[3.0, -1.0], std=[0.5, 2.0])


def test_the_description_of_labels(tiny_classifier: Make) -> None:
    described = onnx_file.describe_model(tiny_classifier("hubert-group", outputs=COLUMNS, layer=2))
    assert json.loads(json.dumps(described)) == described
    assert described["columns"] == {"emotion": ["sad", "glad"], "speaker": ["s1", "s2", "s3"]}
    assert described["labels"] == ["sad", "glad"]
    assert described["temperatures"] == {"emotion": 2.5}
    assert described["sample_rate"] == 16_000
    assert described["frame_rate"] == 800
    assert described["embedding_size"] == 32
    assert (described["backbone"]["name_or_path"], described["backbone"]["layer"]) == (
        "hubert-group",
        2,
    )
    assert described["quantization"] is None
    assert described["padding_exact"] is True


def test_the_description_of_values_and_of_trained_layers(tiny_classifier: Make) -> None:
    model = tiny_classifier("hubert-group", outputs=VALUES, tuning=OpenLayers(1))
    described = onnx_file.describe_model(model)
    assert described["dimensions"]["valence"] == {"mean": -1.0, "std": 2.0}
    assert "labels" not in described
    # Of the whole encoder, and not of the part below the trained layers.
    assert described["backbone"]["layer"] == "last"
    assert onnx_file.output_names(model)[0] == "values"
    assert onnx_file.output_names(tiny_classifier())[0] == "probabilities"


def test_what_the_exporter_cannot_do_is_one_message(
    tiny_classifier: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*parts: Any, **named: Any) -> None:
        raise torch.onnx.OnnxExporterError("long story") from KeyError(
            "no such operator\nand so on"
        )

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(onnx_file.ExportError, match=r"\(KeyError: .*no such operator"):
        onnx_file.write_onnx(tiny_classifier(), tmp_path / "m.onnx", {})
    assert logging.root.manager.disable == 0


def test_the_exporter_is_quiet_and_nobody_else_is(caplog: pytest.LogCaptureFixture) -> None:
    with onnx_file.quietly():
        logging.getLogger("onnxscript").warning("Replaced an initializer")
        warnings.warn("for its makers only", FutureWarning, stacklevel=1)
    logging.getLogger("voxadapt").warning("said")
    assert [record.message for record in caplog.records] == ["said"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("fbank", {"outputs": COLUMNS, "pool": "qkv", "adapter": "bottleneck"}),
        ("fbank", {"outputs": VALUES, "pool": "attentive"}),
        ("hubert-group", {"layer": "weighted", "pool": "mean", "adapter": "none"}),
        ("hubert-batch-norm", {}),
        ("wav2vec2-stable", {"layer": "mean"}),
        ("mms", {}),
        ("wavlm-group", {"tuning": Lora(2, 4.0)}),
        ("wavlm-stable", {}),
        ("unispeech-sat-stable", {}),
        ("data2vec", {}),
        ("wav2vec2-bert", {}),
        ("whisper", {}),
        ("whisper", {"whisper_context": "clip"}),
        ("whisper", {"whisper_context": "clip", "tuning": Lora(2, 4.0)}),
    ],
)
def test_a_file_of_each_family_gives_what_torch_gives(
    kind: str, options: dict[str, Any], tiny_classifier: Make, tmp_path: Path
) -> None:
    model, path = tiny_classifier(kind, **options), tmp_path / "m.onnx"
    onnx_file.write_onnx(model, path, onnx_file.describe_model(model))
    rows = check_parity(model, OnnxModel(path), seconds=(0.01, 0.5, 2.3), progress=False)
    assert max(row.worst for row in rows) < LIMIT / 5


@pytest.mark.slow
def test_large_weights_stand_in_a_second_file(
    tiny_classifier: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxadapt.recipes.exporting.int8 import quantize

    monkeypatch.setattr(onnx_file, "_MOST_BYTES", 1_000)
    model, path = tiny_classifier(), tmp_path / "m.onnx"
    onnx_file.write_onnx(model, path, onnx_file.describe_model(model))
    assert [part.name for part in onnx_file.onnx_parts(path)] == ["m.onnx", "m.onnx.data"]
    assert onnx_file.file_bytes(path) > path.stat().st_size > 0
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for part in onnx_file.onnx_parts(path):
        part.rename(moved / part.name)
    rows = check_parity(model, OnnxModel(moved / "m.onnx"), seconds=(0.5,), progress=False)
    assert max(row.worst for row in rows) < LIMIT
    quantize(moved / "m.onnx", moved / "m.int8.onnx")
    assert OnnxModel(moved / "m.int8.onnx").metadata["quantization"] == "int8, dynamic"
