# SPDX-License-Identifier: Apache-2.0
"""Adapter, pooler and linear layer as one module that can be built again from its config."""

import json

import pytest
import torch

from voxadapt.adapters import FeatureStandardizer, WAPTransformer, WAPTransformerConfig
from voxadapt.adapters.saving import AdapterFolderError
from voxadapt.frame_classifier import Adapter, FrameClassifier, build_frame_classifier
from voxadapt.pooling import POOLERS, build_pooler


def make_adapter(kind: str) -> Adapter:
    if kind == "none":
        return FeatureStandardizer(6)
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
@pytest.mark.parametrize("adapter", ["random", "none"])
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
@pytest.mark.parametrize("adapter", ["random", "none"])
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
