# SPDX-License-Identifier: Apache-2.0
"""Whole models as graphs: heads, outputs, trained layers, and lengths that cannot be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from voxadapt.backbones import Lora, OpenLayers
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.exporting.model_graph import ModelGraph, backbone_graph
from voxadapt.recipes.running.command_line import UsageError

Make = Callable[..., Any]
Exact = Callable[[Any], None]


@pytest.mark.parametrize("pool", ["mean", "sap", "attentive", "qkv"])
@pytest.mark.parametrize("adapter", ["wap", "bottleneck", "none"])
def test_every_head_is_exact_in_a_batch(
    pool: str, adapter: str, tiny_classifier: Make, assert_exact: Exact
) -> None:
    assert_exact(tiny_classifier("fbank", pool=pool, adapter=adapter))


@pytest.mark.parametrize(
    "outputs",
    [
        LabelOutputs({"emotion": ["sad", "glad"], "speaker": ["s1", "s2", "s3"]}),
        LabelOutputs({"label": ["sad", "glad"]}, temperatures={"label": 2.5}),
        ValueOutputs(["arousal", "valence"], mean=[3.0, -1.0], std=[0.5, 2.0]),
    ],
    ids=["columns", "temperature", "values"],
)
def test_what_the_outputs_mean_is_in_the_graph(
    outputs: Any, tiny_classifier: Make, assert_exact: Exact
) -> None:
    assert_exact(tiny_classifier("fbank", adapter="none", pool="mean", outputs=outputs))


@pytest.mark.parametrize(
    ("kind", "tuning", "options"),
    [
        ("hubert-group", Lora(2, 4.0), {"layer": "weighted"}),
        ("wavlm-group", Lora(2, 4.0), {}),
        ("wavlm-stable", OpenLayers(1), {}),
        ("wav2vec2-bert", Lora(2, 4.0), {}),
        ("whisper", Lora(2, 4.0), {"whisper_context": "clip"}),
        ("whisper", OpenLayers(2), {"whisper_context": "clip"}),
    ],
)
def test_trained_layers_are_exact_in_a_batch(
    kind: str, tuning: Any, options: dict[str, Any], tiny_classifier: Make, assert_exact: Exact
) -> None:
    model = tiny_classifier(kind, adapter="none", tuning=tuning, **options)
    names = list(model.state_dict())
    # Longer than Whisper's windows, which are 16,000 samples; a frame of the others is 20.
    assert_exact(model, *([(50, 16_123, 37_000)] if kind == "whisper" else []))
    assert list(model.state_dict()) == names  # LoRA was folded into a copy


@torch.no_grad()
def test_lengths_that_cannot_be_are_taken_to_the_nearest_that_can(tiny_classifier: Make) -> None:
    graph = ModelGraph(tiny_classifier("fbank"))
    waveforms = 0.1 * torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    found = graph(waveforms, torch.tensor([-3, 9_999]))[0]
    torch.testing.assert_close(found, graph(waveforms, torch.tensor([1, 8_000]))[0])


def test_a_backbone_without_a_graph_is_refused(tiny_backbone: Make) -> None:
    with pytest.raises(UsageError, match="in bf16 cannot be exported"):
        backbone_graph(tiny_backbone("hubert-group", precision="bf16"))
