# SPDX-License-Identifier: Apache-2.0
"""A backbone in two parts, which together are what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from voxadapt.backbones import (
    BackboneError,
    EncoderBackbone,
    FilterbankBackbone,
    Lora,
    OpenLayers,
    Tuning,
    pad_waveforms,
    split_backbone,
)

LORA = Lora(2, 4.0)


@pytest.fixture
def build(tiny_model: Callable[..., Any]) -> Callable[..., EncoderBackbone]:
    """A backbone of three layers: `build("wavlm-group", layer=2)`."""

    def make(kind: str, **options: Any) -> EncoderBackbone:
        options = {"whisper_context": "clip", **options}
        return EncoderBackbone.from_model(tiny_model(kind), **options)

    return make


@pytest.fixture
def batch(noise: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
    """Three clips of less than a second, the last below one frame."""
    return pad_waveforms([noise(14_000), noise(8_500, 1), noise(30, 2)])


# Also a layer that is not the top one, and all layers, which need every state of the way.
CASES = [
    ("last", LORA, 0),
    ("last", OpenLayers(1), 2),
    ("last", OpenLayers(3), 0),
    (2, LORA, 0),
    (2, OpenLayers(1), 1),
    ("mean", LORA, 0),
    ("weighted", OpenLayers(3), 0),
]


@pytest.mark.parametrize(("layer", "tuning", "kept"), CASES)
def test_both_parts_together_give_what_the_whole_gives(
    kind: str,
    layer: int | str,
    tuning: Tuning,
    kept: int,
    build: Callable[..., EncoderBackbone],
    batch: tuple[Tensor, Tensor],
) -> None:
    whole = build(kind, layer=layer)
    expected, expected_mask = whole(*batch)
    frozen, tuned = split_backbone(whole, tuning)
    frames, padding_mask = frozen(*batch)
    assert torch.equal(padding_mask, expected_mask)
    for recorded in (False, True):  # with a gradient other kernels compute it
        with torch.set_grad_enabled(recorded):
            given = tuned(frames, padding_mask)
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
    assert (frozen.layer, frozen.spec.layers, tuned.frozen_layers) == (kept, kept, kept)
    assert tuned.output_size == expected.shape[-1] == whole.spec.feature_size


@pytest.mark.parametrize("tuning", [LORA, OpenLayers(1)])
def test_the_frozen_part_is_the_checkpoint_s_lower_layer_and_shares_its_cache(
    kind: str, tuning: Tuning, build: Callable[..., EncoderBackbone], batch: tuple[Tensor, Tensor]
) -> None:
    whole = build(kind, name="somewhere")
    frozen, tuned = split_backbone(whole, tuning)
    same = build(kind, layer=tuned.frozen_layers, name="somewhere")
    assert frozen.fingerprint() == same.fingerprint() != whole.fingerprint()
    assert frozen.cache_key() == same.cache_key()
    assert frozen.config() == same.config()
    assert frozen.spec == same.spec
    assert torch.equal(frozen(*batch)[0], same(*batch)[0])


@pytest.mark.parametrize("tuning", [LORA, OpenLayers(2)])
def test_the_whole_stays_as_it_was_however_the_layers_train(
    kind: str, tuning: Tuning, build: Callable[..., EncoderBackbone], batch: tuple[Tensor, Tensor]
) -> None:
    whole = build(kind)
    expected, fingerprint = whole(*batch)[0], whole._hash()
    frozen, tuned = split_backbone(whole, tuning)
    lower = frozen._hash()
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # LoRA's first factor moves when the second is not zero any more
        optimizer.zero_grad()
        tuned(*frozen(*batch)).square().mean().backward()
        optimizer.step()
    assert not torch.allclose(tuned(*frozen(*batch)), expected, atol=1e-3)
    assert whole._hash() == fingerprint == tuned.backbone_fingerprint
    assert frozen._hash() == lower
    assert torch.equal(whole(*batch)[0], expected)
    assert not any(parameter.requires_grad for parameter in whole.parameters())
    assert tuned.backbone_config == whole.config()


def test_the_frozen_part_may_be_in_half_precision_and_the_whole_stays_in_full(
    build: Callable[..., EncoderBackbone], batch: tuple[Tensor, Tensor]
) -> None:
    whole = build("hubert-group")
    expected = whole(*batch)[0]
    frozen, tuned = split_backbone(whole, OpenLayers(1), precision="bf16")
    full, _ = split_backbone(whole, OpenLayers(1))
    assert frozen.precision == "bf16"
    assert frozen.fingerprint() == full.fingerprint()
    assert frozen.cache_key() != full.cache_key()
    assert {parameter.dtype for parameter in whole.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in tuned.parameters()} == {torch.float32}
    assert torch.equal(whole(*batch)[0], expected)


@pytest.mark.parametrize(
    ("kind", "options", "tuning", "message"),
    [
        ("hubert-group", {}, OpenLayers(4), "runs 3 layers for layer 'last', but the top 4 were"),
        ("hubert-group", {"layer": 1}, OpenLayers(2), "runs 1 layers for layer 1, but the top 2"),
        ("hubert-group", {"layer": 0}, LORA, "runs 0 layers for layer 0, but LoRA"),
        ("hubert-group", {"layer": "mean"}, OpenLayers(1), "open all 3, use LoRA, or read one"),
        ("hubert-group", {"layer": "weighted"}, OpenLayers(2), "'weighted' .* reads all layers"),
        ("hubert-group", {"precision": "bf16"}, LORA, "loaded in bf16"),
        ("whisper", {"whisper_context": "window"}, LORA, "--whisper-context clip"),
        ("whisper", {"whisper_context": "window"}, OpenLayers(1), "--whisper-context clip"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_way_out(
    kind: str,
    options: dict[str, Any],
    tuning: Tuning,
    message: str,
    build: Callable[..., EncoderBackbone],
) -> None:
    with pytest.raises(BackboneError, match=message):
        split_backbone(build(kind, **options), tuning)


def test_a_filterbank_has_no_layers_to_train() -> None:
    with pytest.raises(BackboneError, match="fbank has no layers to train"):
        split_backbone(FilterbankBackbone(), LORA)
