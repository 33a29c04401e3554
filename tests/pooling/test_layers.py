# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from voxadapt.pooling import LayerWeightedSum


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    hidden_states = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    return hidden_states, torch.arange(6) >= torch.tensor([6, 2])[:, None]


def test_equals_the_loop_over_layers() -> None:
    hidden_states, padding_mask = make_batch()
    module = LayerWeightedSum(4)
    scores = [0.3, -1.0, 2.0, 0.5]
    module.scores.data = torch.tensor(scores)
    total = sum(math.exp(score) for score in scores)
    expected = torch.zeros(2, 6, 5)
    for layer, score in enumerate(scores):
        expected += math.exp(score) / total * hidden_states[:, layer]
    mixed = module(hidden_states, padding_mask)
    torch.testing.assert_close(mixed[~padding_mask], expected[~padding_mask])
    assert (mixed[padding_mask] == 0).all()


def test_starts_as_the_mean_of_the_layers() -> None:
    hidden_states, padding_mask = make_batch()
    module = LayerWeightedSum(4)
    assert module.weights.tolist() == [0.25] * 4
    mixed = module(hidden_states, padding_mask)
    torch.testing.assert_close(mixed[~padding_mask], hidden_states.mean(dim=1)[~padding_mask])


@pytest.mark.parametrize("garbage", [1e4, float("nan"), float("inf")])
def test_garbage_in_padding_reaches_neither_frames_nor_gradient(garbage: float) -> None:
    hidden_states, padding_mask = make_batch()
    dirty = hidden_states.masked_fill(padding_mask[:, None, :, None], garbage)
    results = []
    for batch in (hidden_states, dirty):
        module = LayerWeightedSum(4)
        mixed = module(batch, padding_mask)
        mixed.square().sum().backward()
        results.append((mixed, module.scores.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert (results[0][1] != 0).all()


def test_dtypes() -> None:
    hidden_states, padding_mask = make_batch()
    full = LayerWeightedSum(4)(hidden_states, padding_mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(LayerWeightedSum(4)(hidden_states, padding_mask), full)
    double = LayerWeightedSum(4).double()(hidden_states.double(), padding_mask)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), full)
    half = LayerWeightedSum(4).bfloat16()
    assert half.weights.dtype == torch.float32
    assert half(hidden_states.bfloat16(), padding_mask).dtype == torch.bfloat16


def test_config_builds_an_equal_module() -> None:
    assert LayerWeightedSum(**LayerWeightedSum(7).config()).scores.shape == (7,)


def test_wrong_input_is_refused() -> None:
    hidden_states, padding_mask = make_batch()
    module = LayerWeightedSum(4)
    with pytest.raises(ValueError, match=r"\[B, 4, T, D\], got .*\[2, 3, 6, 5\]"):
        module(hidden_states[:, :3], padding_mask)
    with pytest.raises(ValueError, match=r"\[B, 4, T, D\], got .*\[2, 6, 5\]"):
        module(hidden_states[:, 0], padding_mask)
    with pytest.raises(ValueError, match=r"padding_mask must be \[B, T\] = \[2, 6\]"):
        module(hidden_states, padding_mask[:, :4])
    with pytest.raises(ValueError, match="padding_mask must be a bool tensor"):
        module(hidden_states, padding_mask.float())
    with pytest.raises(ValueError, match=r"at least one real frame.*clips \[0, 1\]"):
        module(hidden_states, torch.ones_like(padding_mask))
    with pytest.raises(ValueError, match="layers must be a whole number"):
        LayerWeightedSum(0)
