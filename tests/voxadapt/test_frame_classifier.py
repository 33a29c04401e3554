# SPDX-License-Identifier: Apache-2.0
"""Adapter, pooler and linear layer as one module that can be built again from its config."""

import json
from pathlib import Path

import pytest
import torch

from voxadapt.adapters import (
    BottleneckAdapter,
    BottleneckAdapterConfig,
    FeatureStandardizer,
    WAPTransformer,
    WAPTransformerConfig,
)
from voxadapt.adapters.saving import AdapterFolderError
from voxadapt.backbones import Lora, OpenLayers, Tuning, load_backbone, split_backbone
from voxadapt.frame_classifier import Adapter, FrameClassifier, build_frame_classifier
from voxadapt.layer_mix import LayerMix
from voxadapt.pooling import POOLERS, build_pooler


def make_adapter(kind: str) -> Adapter:
    if kind == "none":
        return FeatureStandardizer(6)
    if kind == "bottleneck":
        adapter = BottleneckAdapter(BottleneckAdapterConfig(input_size=6, bottleneck=4))
        torch.nn.init.normal_(adapter.up.weight)
        return adapter
    sizes = {"width": 8, "layers": 2, "heads": 2, "feedforward": 16, "position_groups": 2}
    return WAPTransformer(WAPTransformerConfig(input_size=6, **sizes))


def make_model(pool: str = "sap", adapter: str = "random", dropout: float = 0.5) -> FrameClassifier:
    torch.manual_seed(0)
    module = make_adapter(adapter)
    return FrameClassifier(module, build_pooler(pool, module.output_size), 3, dropout).eval()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    padding_mask = torch.arange(9) >= torch.tensor([9, 5, 1])[:, None]
    return torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(0)), padding_mask


@pytest.mark.parametrize("pool", list(POOLERS))
@pytest.mark.parametrize("adapter", ["random", "bottleneck", "none"])
def test_its_config_builds_it_again(
    pool: str, adapter: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = make_model(pool, adapter)
    config = json.loads(json.dumps(model.config()))
    built = build_frame_classifier(config).eval()
    assert built.config() == config
    assert built.dropout.p == 0.5
    built.load_state_dict(model.state_dict())
    logits = model(*batch)
    assert logits.shape == (3, 3)
    assert torch.equal(built(*batch), logits)


@pytest.mark.parametrize("pool", list(POOLERS))
@pytest.mark.parametrize("adapter", ["random", "bottleneck", "none"])
def test_neither_padding_nor_the_batch_changes_a_clip(
    pool: str, adapter: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model, (frames, padding_mask) = make_model(pool, adapter), batch
    expected = model(frames, padding_mask)
    garbage = frames.masked_fill(padding_mask[..., None], float("nan"))
    torch.testing.assert_close(model(garbage, padding_mask), expected)
    for row, length in enumerate((9, 5, 1)):
        alone = model(frames[row : row + 1, :length], padding_mask[row : row + 1, :length])
        torch.testing.assert_close(alone[0], expected[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", list(POOLERS))
def test_weights_and_pooled_vectors_belong_to_the_logits(
    pool: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = make_model(pool)
    logits, pooled, weights = model.with_weights(*batch)
    torch.testing.assert_close(logits, model(*batch))
    torch.testing.assert_close(logits, model.linear(pooled))
    assert weights.shape[::2] == (3, 9)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    assert weights.transpose(1, 2)[batch[1]].eq(0).all()


def test_dropout_is_on_the_pooled_vector_and_only_in_training(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    model = make_model(adapter="none", dropout=0.5)
    assert torch.equal(model(*batch), model(*batch))
    model.train()
    assert not torch.equal(model(*batch), model(*batch))


def test_a_pooler_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes 7 features, but the adapter gives 8"):
        FrameClassifier(make_adapter("random"), build_pooler("mean", 7), 3)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("adapter", "class"), "Evil", "adapter class: found 'Evil'"),
        (("adapter", "config"), {"widht": 3}, "unknown fields"),
        (("pooler", "name"), "sapp", "no pooler 'sapp'"),
        (("pooler", "headz"), 3, "no option 'headz'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    place: tuple[str, str], value: object, message: str
) -> None:
    config = make_model().config()
    config[place[0]][place[1]] = value
    with pytest.raises((ValueError, AdapterFolderError), match=message):
        build_frame_classifier(config)


def test_hidden_features_stand_at_the_mean_of_what_the_adapter_gets(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    for kind in ("random", "bottleneck", "none"):
        model, (frames, padding_mask) = make_model(adapter=kind), batch
        standardizer = getattr(model.adapter, "standardize", model.adapter)
        standardizer.set_statistics(torch.arange(6.0), torch.ones(6))
        feature_mask = torch.zeros(3, 6, dtype=torch.bool)
        feature_mask[0, 2:4] = True
        hidden = frames.clone()
        hidden[0, :, 2:4] = torch.tensor([2.0, 3.0])
        expected = model(hidden, padding_mask)
        assert torch.equal(model(frames, padding_mask, None, feature_mask), expected)
        assert not torch.allclose(expected[0], model(frames, padding_mask)[0])


def make_tuned(hubert_folder: Path, tuning: Tuning, layer: str = "weighted") -> FrameClassifier:
    """LoRA or opened layers under a sum over all three states, each of 16 features."""
    torch.manual_seed(0)
    _, tuned_layers = split_backbone(load_backbone(str(hubert_folder), layer=layer), tuning)
    mix = LayerMix(3, 16) if layer == "weighted" else None
    adapter, pooler = FeatureStandardizer(16), build_pooler("sap", 16)
    model = FrameClassifier(adapter, pooler, 3, tuned_layers=tuned_layers, layer_mix=mix)
    return model.eval()


def test_layers_and_their_sum_stand_in_front_of_the_adapter(hubert_folder: Path) -> None:
    model = make_tuned(hubert_folder, Lora(2, 4.0))
    assert model.tuned_layers is not None
    assert model.layer_mix is not None
    padding_mask = torch.arange(9) >= torch.tensor([9, 5])[:, None]
    frames = torch.randn(2, 9, 16)
    states = model.tuned_layers(frames, padding_mask)
    assert states.shape == (2, 9, 48)
    given = model.adapter_input(frames, padding_mask)
    assert torch.equal(given, model.layer_mix(states, padding_mask))
    plain = FrameClassifier(model.adapter, model.pooler, 3).eval()
    plain.linear = model.linear
    assert torch.equal(model(frames, padding_mask), plain(given, padding_mask))
    for one, other in zip(
        model.with_weights(frames, padding_mask),
        plain.with_weights(given, padding_mask),
        strict=True,
    ):
        assert torch.equal(one, other)
    config = json.loads(json.dumps(model.config()))
    built = build_frame_classifier(config, model.tuned_layers)
    assert built.config() == config == {**plain.config(), "layer_mix": {"layers": 3, "size": 16}}


@pytest.mark.parametrize("tuning", [Lora(2, 4.0), OpenLayers(1)])
def test_its_trained_state_is_all_but_the_encoder_s_frozen_weights(
    tuning: Tuning, hubert_folder: Path
) -> None:
    model = make_tuned(hubert_folder, tuning, "last")
    state, frozen = model.trained_state(), model.frozen_tensors()
    assert state.keys() | frozen.keys() == model.state_dict().keys()
    assert not state.keys() & frozen.keys()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained <= state.keys()
    assert state.keys() - trained == {"adapter.mean", "adapter.std"}
    assert all(name.startswith("tuned_layers.") for name in frozen)
    # Of one opened layer after its norms, nothing in the upper part is frozen.
    assert bool(frozen) == isinstance(tuning, Lora)
    if isinstance(tuning, Lora):
        assert all("lora" in name for name in state if name.startswith("tuned_layers."))
    moved = {name: tensor + 1.0 for name, tensor in state.items()}
    model.load_trained_state(moved)
    assert all(torch.equal(tensor, moved[name]) for name, tensor in model.trained_state().items())
    for changed in (
        {name: tensor for name, tensor in moved.items() if name != "linear.bias"},
        {**moved, "tuned_layers.evil": torch.zeros(1)},
        {**moved, "evil": torch.zeros(1), **frozen},
    ):
        with pytest.raises(ValueError, match="missing or unexpected tensors"):
            model.load_trained_state(changed)


def test_without_tuned_layers_everything_is_its_trained_state() -> None:
    model = make_model()
    assert model.trained_state().keys() == model.state_dict().keys()
    assert model.frozen_tensors() == {}


def test_parts_of_sizes_that_do_not_meet_are_refused(hubert_folder: Path) -> None:
    tuned_layers = make_tuned(hubert_folder, Lora(2, 4.0)).tuned_layers
    pooler = build_pooler("sap", 16)
    with pytest.raises(ValueError, match="adapter: takes 16 features, but gets 48"):
        FrameClassifier(FeatureStandardizer(16), pooler, 3, tuned_layers=tuned_layers)
    mix = LayerMix(2, 16)
    with pytest.raises(ValueError, match="layer_mix: takes 32 features, but gets 48"):
        FrameClassifier(
            FeatureStandardizer(16), pooler, 3, tuned_layers=tuned_layers, layer_mix=mix
        )
    with pytest.raises(ValueError, match="adapter: takes 16 features, but gets 8"):
        FrameClassifier(FeatureStandardizer(16), pooler, 3, layer_mix=LayerMix(2, 8))


@pytest.mark.parametrize("pool", list(POOLERS))
def test_standardised_vectors_are_what_the_linear_layer_sees_until_they_are_folded(
    pool: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = make_model(pool)
    names = list(model.state_dict())
    pooled = model.with_weights(*batch)[1]
    plain = model(*batch)
    torch.testing.assert_close(plain, model.linear(pooled))

    model.standardize_vectors(pooled)
    assert model.vector_standardizer is not None
    standardized = model.vector_standardizer(pooled)
    torch.testing.assert_close(standardized.mean(dim=0), torch.zeros(standardized.shape[1]))
    logits = model(*batch)
    torch.testing.assert_close(logits, model.linear(standardized))
    torch.testing.assert_close(model.with_weights(*batch)[0], logits)
    torch.testing.assert_close(model.with_weights(*batch)[1], pooled)
    assert set(model.trained_state()) > set(names)  # a checkpoint has the statistics

    model.fold_standardizer()
    model.fold_standardizer()  # there is nothing left to fold
    torch.testing.assert_close(model(*batch), logits, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == names
    build_frame_classifier(model.config()).load_state_dict(model.state_dict())


@pytest.mark.parametrize("adapter", ["random", "bottleneck", "none"])
def test_features_are_scaled_one_by_one_behind_a_transformer_only(
    adapter: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = make_model("mean", adapter)
    model.standardize_vectors(model.with_weights(*batch)[1])
    assert model.vector_standardizer is not None
    assert (len(model.vector_standardizer.std.unique()) > 1) == (adapter == "random")
