# SPDX-License-Identifier: Apache-2.0
"""The layers that train: what of them trains, what reaches a clip's frames, and merging LoRA."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from voxadapt.backbones import (
    BackboneError,
    EncoderBackbone,
    Lora,
    OpenLayers,
    TunedLayers,
    Tuning,
    pad_waveforms,
    split_backbone,
)

LORA = Lora(2, 4.0, dropout=0.5)


@pytest.fixture
def tune(tiny_model: Callable[..., Any]) -> Callable[..., tuple[EncoderBackbone, TunedLayers]]:
    """Both parts of a backbone of three layers, the upper one moved as if it had been trained."""

    def make(
        kind: str, tuning: Tuning, layer: int | str = "last"
    ) -> tuple[EncoderBackbone, TunedLayers]:
        whole = EncoderBackbone.from_model(tiny_model(kind), layer=layer, whisper_context="clip")
        torch.manual_seed(0)
        frozen, tuned = split_backbone(whole, tuning)
        with torch.no_grad():
            for parameter in tuned.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn(parameter.shape)
        return frozen, tuned.eval()

    return make


@pytest.fixture
def clips(noise: Callable[..., Tensor]) -> list[Tensor]:
    """Longer than two of the tiny Whisper's windows of a second, shorter, and below one frame."""
    return [noise(38_000), noise(9_000, 1), noise(30, 2)]


@pytest.mark.parametrize("tuning", [LORA, OpenLayers(1), OpenLayers(3)])
def test_every_weight_that_asks_for_a_gradient_gets_one(
    kind: str, tuning: Tuning, tune: Callable[..., Any], clips: list[Tensor]
) -> None:
    """DistributedDataParallel stops at one that does not."""
    frozen, tuned = tune(kind, tuning)
    tuned.train()(*frozen(*pad_waveforms(clips))).square().sum().backward()
    for name, parameter in tuned.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
        assert parameter.requires_grad == (name in tuned.trained_names)


def test_lora_trains_query_and_value_of_all_layers_that_are_run(
    kind: str, tune: Callable[..., Any]
) -> None:
    _, tuned = tune(kind, LORA, layer=2)
    targets = ("linear_q", "linear_v") if kind == "wav2vec2-bert" else ("q_proj", "v_proj")
    expected = {(layer, target) for layer in "01" for target in targets}
    assert {(name.split(".")[2], name.split(".")[4]) for name in tuned.trained_names} == expected
    assert len(tuned.trained_names) == 2 * len(expected)
    assert all("lora_A" in name or "lora_B" in name for name in tuned.trained_names)


def test_lora_adds_its_factors_product_times_alpha_over_r(tune: Callable[..., Any]) -> None:
    _, tuned = tune("hubert-group", Lora(2, 6.0))
    query = tuned.encoder.layers[0].attention.q_proj
    inputs = torch.randn(5, 16)
    first, second = query.lora_A["default"].weight, query.lora_B["default"].weight
    expected = query.base_layer(inputs) + 3.0 * inputs @ first.T @ second.T
    torch.testing.assert_close(query(inputs), expected)
    assert first.shape == (2, 16)


def test_opened_layers_train_whole_and_nothing_else_does(
    kind: str, tune: Callable[..., Any]
) -> None:
    _, tuned = tune(kind, OpenLayers(2))
    names = {name for name, _ in tuned.named_parameters()}
    assert {name.split(".")[2] for name in tuned.trained_names} == {"0", "1"}
    # The final norm of pre-norm encoders, and the embedding that WavLM's first layer lends.
    others = {name.rpartition(".")[0] for name in names - tuned.trained_names}
    assert others <= {"encoder.layer_norm", "encoder.layers.0.attention.rel_attn_embed"}
    assert ("encoder.layers.0.attention.rel_attn_embed" in others) == kind.startswith("wavlm")


@pytest.mark.parametrize("tuning", [LORA, OpenLayers(2)])
def test_neither_padding_nor_the_batch_changes_a_clip(
    kind: str, tuning: Tuning, tune: Callable[..., Any], clips: list[Tensor]
) -> None:
    frozen, tuned = tune(kind, tuning)
    frames, padding_mask = frozen(*pad_waveforms(clips))
    given = tuned(frames, padding_mask)
    assert given.dtype == torch.float32
    assert given[padding_mask].eq(0).all()
    garbage = frames.masked_fill(padding_mask[..., None], float("nan"))
    assert torch.equal(tuned(garbage, padding_mask), given)
    for row, clip in enumerate(clips):
        alone = tuned(*frozen(*pad_waveforms([clip])))[0]
        torch.testing.assert_close(alone, given[row, : len(alone)], rtol=1e-4, atol=1e-4)


def test_in_whisper_no_frame_sees_another_window(
    tune: Callable[..., Any], clips: list[Tensor]
) -> None:
    frozen, tuned = tune("whisper", LORA)
    frames, padding_mask = frozen(*pad_waveforms(clips[:1]))
    assert frames.shape[1] == 38_000 // 320 == 118
    whole = tuned(frames, padding_mask)
    for start in (0, 50, 100):
        window = slice(start, start + 50)
        alone = tuned(frames[:, window], padding_mask[:, window])
        torch.testing.assert_close(whole[:, window], alone, rtol=1e-4, atol=1e-5)


def test_only_lora_s_dropout_drops_and_only_while_training(
    kind: str, tune: Callable[..., Any], clips: list[Tensor]
) -> None:
    for tuning in (LORA, OpenLayers(3)):
        frozen, tuned = tune(kind, tuning)
        batch = frozen(*pad_waveforms(clips))
        expected = tuned(*batch)
        assert torch.equal(tuned(*batch), expected)
        tuned.train()
        assert tuned.training
        assert torch.equal(tuned(*batch), expected) == (tuning != LORA)
        assert torch.equal(tuned.eval()(*batch), expected)


@pytest.mark.parametrize("layer", ["last", 2, "mean", "weighted"])
def test_merged_it_is_the_same_function_without_lora(
    kind: str, layer: int | str, tune: Callable[..., Any], clips: list[Tensor]
) -> None:
    frozen, tuned = tune(kind, LORA, layer)
    before = copy.deepcopy(tuned.state_dict())
    batch = frozen(*pad_waveforms(clips))
    merged = tuned.merged()
    torch.testing.assert_close(merged(*batch), tuned(*batch), rtol=1e-5, atol=1e-5)
    assert merged.tuning == OpenLayers(merged.encoder.depth)
    assert not any("lora" in name for name in merged.state_dict())
    # It is stored like opened layers are, name by name.
    _, opened = tune(kind, merged.tuning, layer)
    assert merged.state_dict().keys() == opened.state_dict().keys()
    assert merged.trained_names == opened.trained_names
    assert all(torch.equal(value, before[name]) for name, value in tuned.state_dict().items())
    with pytest.raises(BackboneError, match="no LoRA to merge"):
        merged.merged()


def test_frames_of_another_size_are_refused(tune: Callable[..., Any]) -> None:
    _, tuned = tune("hubert-group", LORA)
    with pytest.raises(ValueError, match=r"\[B, T, 16\] is needed"):
        tuned(torch.zeros(1, 3, 8), torch.zeros(1, 3, dtype=torch.bool))
