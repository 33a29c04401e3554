# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.backbones.relative_position_bias import gated_bias, relative_biases

FRAMES = 90  # beyond max_bucket_distance, which is 40 here


@pytest.fixture
def model(tiny_model):
    return tiny_model("wavlm-group")


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def gated_by_transformers(first, attention, hidden_states):
    """What a layer of transformers adds to its scores, `[N, H, T, T]`."""
    seen = []
    heads, frames = first.num_heads, hidden_states.shape[1]
    position_bias = first.compute_bias(frames, frames).repeat(len(hidden_states), 1, 1)
    attention.torch_multi_head_self_attention = lambda *given: seen.append(given[2]) or (None, None)
    attention(hidden_states, position_bias=position_bias)
    return seen[0].view(len(hidden_states), heads, frames, frames)


def test_distances(model):
    attention = model.encoder.layers[0].attention
    with torch.no_grad():
        biases = relative_biases(attention, FRAMES)
        expected = attention.compute_bias(FRAMES, FRAMES)
    assert biases.shape == (2, 2 * FRAMES - 1)
    for query in (0, 1, 50, FRAMES - 1):
        start = FRAMES - 1 - query
        assert torch.equal(biases[:, start : start + FRAMES], expected[:, query])


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize(("start", "stop"), [(0, FRAMES), (0, 1), (37, 61), (FRAMES - 1, FRAMES)])
def test_each_layer_gates_as_in_transformers(layer, start, stop, model):
    first = model.encoder.layers[0].attention
    attention = model.encoder.layers[layer].attention
    hidden_states = draw(2, FRAMES, 16)
    expected = gated_by_transformers(first, attention, hidden_states)
    with torch.no_grad():
        bias = gated_bias(attention, hidden_states, relative_biases(first, FRAMES))
        block = bias(start, stop)
    torch.testing.assert_close(block, expected[:, :, start:stop], atol=1e-5, rtol=1e-5)
    assert block.std() > 0.1


def test_one_frame(model):
    attention = model.encoder.layers[0].attention
    biases = relative_biases(attention, 1)
    assert biases.shape == (2, 1)
    assert gated_bias(attention, draw(1, 1, 16), biases)(0, 1).shape == (1, 2, 1, 1)


def test_gradients_reach_the_gate_and_the_embedding(model):
    attention = model.encoder.layers[0].attention
    hidden_states = draw(1, 12, 16).requires_grad_()
    bias = gated_bias(attention, hidden_states, relative_biases(attention, 12))
    bias(3, 9).square().sum().backward()
    assert hidden_states.grad[0, 3:9].abs().min() > 0
    for parameter in (
        attention.rel_attn_embed.weight,
        attention.gru_rel_pos_linear.weight,
        attention.gru_rel_pos_const,
    ):
        assert parameter.grad.any()
