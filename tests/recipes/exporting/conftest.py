# SPDX-License-Identifier: Apache-2.0
"""Tiny random encoders of each family, classifiers on them, and clips alone against a batch."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from voxadapt.adapters import (
    BottleneckAdapter,
    BottleneckAdapterConfig,
    FeatureStandardizer,
    WAPTransformer,
    WAPTransformerConfig,
)
from voxadapt.backbones import (
    EncoderBackbone,
    FilterbankBackbone,
    Tuning,
    pad_waveforms,
    split_backbone,
)
from voxadapt.classifier import SpeechClassifier
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.layer_mix import LayerMix
from voxadapt.pooling import build_pooler
from voxadapt.recipes.exporting.model_graph import ModelGraph

# Samples: below one frame of any encoder, and ragged.
LENGTHS = (50, 700, 4_123, 2_000, 6_500)


@pytest.fixture(scope="session")
def encoders() -> Any:
    """The module with the tiny models of the backbones' tests."""
    path = Path(__file__).resolve().parents[2] / "backbones" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_encoders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_backbone(encoders: Any) -> Callable[..., Any]:
    """Build a backbone: ``tiny_backbone("hubert-group", layer=2)``, or ``"fbank"``."""
    from transformers import AutoConfig, AutoModel

    def make(kind: str, **options: Any) -> Any:
        if kind == "fbank":
            return FilterbankBackbone()
        model_type, settings = encoders.settings_of(kind)
        model = AutoModel.from_config(AutoConfig.for_model(model_type, **settings))
        return EncoderBackbone.from_model(encoders.randomize(model), name=kind, **options)

    return make


@pytest.fixture(scope="session")
def tiny_classifier(tiny_backbone: Callable[..., Any]) -> Callable[..., SpeechClassifier]:
    """Build a classifier whose weights are of a size at which a wrong answer shows."""

    def make(
        kind: str = "fbank",
        *,
        pool: str = "sap",
        adapter: str = "wap",
        outputs: Any = ("a", "b", "c"),
        tuning: Tuning | None = None,
        **options: Any,
    ) -> SpeechClassifier:
        torch.manual_seed(0)
        backbone, tuned = tiny_backbone(kind, **options), None
        size, layers = backbone.spec.feature_size, backbone.spec.layer_outputs
        if tuning is not None:
            backbone, tuned = split_backbone(backbone, tuning)
        mix = LayerMix(layers, size // layers) if layers > 1 else None
        module = _adapter(adapter, size // layers)
        classes = getattr(outputs, "size", len(outputs) if isinstance(outputs, tuple) else 0)
        classifier = FrameClassifier(
            module,
            build_pooler(pool, module.output_size),
            classes,
            tuned_layers=tuned,
            layer_mix=mix,
        )
        _scatter(classifier)
        given = list(outputs) if isinstance(outputs, tuple) else outputs
        return SpeechClassifier(backbone, classifier, given).eval()

    return make


def _adapter(name: str, size: int) -> Any:
    if name == "wap":
        sizes = {"width": 16, "layers": 2, "heads": 2, "feedforward": 32, "position_groups": 4}
        return WAPTransformer(WAPTransformerConfig(input_size=size, **sizes))
    if name == "bottleneck":
        return BottleneckAdapter(BottleneckAdapterConfig(input_size=size, bottleneck=4))
    return FeatureStandardizer(size)


@torch.no_grad()
def _scatter(classifier: FrameClassifier) -> None:
    trained = classifier.tuned_layers.trained_names if classifier.tuned_layers else frozenset()
    for name, parameter in classifier.named_parameters():
        if not name.startswith("tuned_layers."):
            parameter.normal_(0.0, 0.3)
        elif name.removeprefix("tuned_layers.") in trained:
            parameter.add_(0.05 * torch.randn_like(parameter))
    for module in classifier.modules():
        if isinstance(module, FeatureStandardizer):
            size = module.input_size
            module.set_statistics(0.1 * torch.randn(size), 0.5 + torch.rand(size))


@pytest.fixture(scope="session")
def clips() -> list[Tensor]:
    """Clips ``[S]`` of very different lengths."""
    return draw(LENGTHS)


def draw(lengths: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        0.1 * torch.randn(length, generator=generator)
        + 0.05 * torch.sin(0.03 * (1 + number) * torch.arange(length))
        + 0.02
        for number, length in enumerate(lengths)
    ]


@torch.no_grad()
def run_graph(model: SpeechClassifier, clips: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What the graph gives for a batch whose padding is NaN."""
    padded, padding_mask = pad_waveforms(clips)
    lengths = torch.tensor([len(clip) for clip in clips])
    outputs: tuple[Tensor, ...] = ModelGraph(model)(
        padded.masked_fill(padding_mask, math.nan), lengths
    )
    return outputs


@pytest.fixture(scope="session")
def assert_exact() -> Callable[..., None]:
    """Compare the graph's batch with what torch gives for each clip alone."""
    from voxadapt.recipes.exporting.parity import run_alone

    def compare(model: SpeechClassifier, lengths: Sequence[int] = LENGTHS) -> None:
        clips = draw(lengths)
        found = run_graph(model, clips)
        for row, clip in enumerate(clips):
            alone = run_alone(model, clip)
            for tensor, numbers in zip(found, alone.values(), strict=True):
                expected = torch.from_numpy(numbers)
                scale = max(1.0, float(expected.abs().max()))
                torch.testing.assert_close(tensor[row], expected, atol=2e-5 * scale, rtol=0)
        # And the clips are told apart, so that a constant would not do.
        assert (found[1].std(dim=0) > 1e-3).all()

    return compare
