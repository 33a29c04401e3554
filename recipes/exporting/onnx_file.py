# SPDX-License-Identifier: Apache-2.0
"""A model as an ONNX file that says by itself what goes in and what comes out."""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from voxadapt.backbones import SAMPLE_RATE
from voxadapt.classifier import SpeechClassifier
from voxadapt.extras import install_command
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.exporting.model_graph import ModelGraph
from voxadapt.recipes.running.command_line import UsageError

INPUTS = ("waveforms", "lengths")
METADATA_KEY = "voxadapt"
"""What is said of the model stands under one key, as JSON: other tools add keys of their own."""
OPSET = 20
"""ONNX operators of 2023, the first with GELU."""
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# A protocol buffer holds 2 GB; larger weights go to a file beside it.
_MOST_BYTES = 1_800_000_000
_DOCUMENTATION = (
    "waveforms [batch, samples] float32: mono speech at the rate in the metadata, about -1 to 1, "
    "clips of a batch padded on the right with anything. lengths [batch] int64: real samples of "
    "each clip. The metadata has all else, as JSON under the key voxadapt."
)


class ExportError(UsageError):
    """A model that was not exported; the message says why."""


def require_packages() -> None:
    """Refuse to begin where a package is missing.

    Raises:
        ExportError: Naming what to install.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export needs {', '.join(missing)}, which is not installed here; install it with  "
            f"{install_command('onnx')}"
        )


def output_names(model: SpeechClassifier) -> tuple[str, str, str]:
    """Names of the file's outputs, in their order."""
    if isinstance(model.outputs, ValueOutputs):
        return ("values", "standardized_values", "embedding")
    return ("probabilities", "logits", "embedding")


def describe_model(model: SpeechClassifier) -> dict[str, Any]:
    """What the file's metadata holds, JSON-able: names of the outputs, rate, backbone, version."""
    tuned = model.frame_classifier.tuned_layers
    backbone = model.backbone.config() if tuned is None else tuned.backbone_config
    meaning = model.outputs.config()
    if isinstance(model.outputs, LabelOutputs):
        meaning = {
            "columns": {name: list(labels) for name, labels in model.outputs.columns.items()},
            "labels": model.outputs.labels,
            "temperatures": dict(getattr(model.outputs, "temperatures", {})),
        }
    return {
        **meaning,
        "sample_rate": SAMPLE_RATE,
        "frame_rate": model.backbone.spec.frame_rate,
        "embedding_size": model.frame_classifier.pooler.output_size,
        "backbone": {**backbone, "licence": model.backbone.spec.licence},
        "voxadapt_version": version("voxadapt"),
        "quantization": None,
        "padding_exact": True,
    }


def write_onnx(model: SpeechClassifier, path: Path, metadata: dict[str, Any]) -> None:
    """Write a model as one ONNX graph.

    torch offers two ways. `torch.export` (``dynamo=True``) refuses what a graph cannot hold; the
    older tracing would write down the example's sizes in its place, and be wrong for others.

    Args:
        model: In eval mode, on the CPU.
        path: The file to write; weights above 1.8 GB go to ``<path>.data``.
        metadata: JSON-able, from `describe_model`.

    Raises:
        ExportError: torch could not make a graph of the model.
    """
    from torch.onnx import OnnxExporterError

    graph = ModelGraph(model)
    windows = getattr(getattr(model.backbone, "encoder", None), "window_frames", 0)
    # Sizes of 1 would be taken for constants: two clips, and more than one window of Whisper's.
    samples = 20_000 + round(1.3 * windows * SAMPLE_RATE / model.backbone.spec.frame_rate)
    example = (0.1 * torch.randn(2, samples), torch.tensor([samples, samples // 2]))
    try:
        with torch.no_grad(), quietly():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                dynamic_shapes=({0: "batch", 1: "samples"}, {0: "batch"}),
                input_names=INPUTS,
                output_names=output_names(model),
                opset_version=OPSET,
                verbose=False,
            )
    except OnnxExporterError as error:
        raise ExportError(
            f"torch {torch.__version__} could not make a graph of the model ({_first(error)}). The "
            "exporter is known to work with torch 2.11."
        ) from error
    if program is None:
        raise ExportError(f"torch {torch.__version__} gave no graph of the model")
    program.model.doc_string = _DOCUMENTATION
    program.model.metadata_props[METADATA_KEY] = json.dumps(metadata, ensure_ascii=False)
    size = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
    program.save(str(path), external_data=size > _MOST_BYTES)


def file_bytes(path: Path) -> int:
    """Bytes of an ONNX file, weights beside it included."""
    return sum(os.path.getsize(part) for part in onnx_parts(path))


def onnx_parts(path: Path) -> list[Path]:
    """The files that a model consists of."""
    return [part for part in (path, weights_name(path)) if part.exists()]


def weights_name(path: Path) -> Path:
    """Where the weights of a large model lie, beside its file."""
    return path.with_name(f"{path.name}.data")


def _first(error: BaseException) -> str:
    """The cause at the bottom of an exporter's error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what exporters say of their own workings from the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
