# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from torch import nn

from voxadapt.backbones.position_convolution import PositionConvolution

KINDS = {
    "even kernel": ("hubert-group", {}),
    "odd kernel": ("wav2vec2-group", {"num_conv_pos_embeddings": 15}),
    "batch norm": ("hubert-batch-norm", {}),
    "another activation": ("wavlm-group", {"feat_extract_activation": "silu"}),
    "stack": ("data2vec", {}),
    "stack with an even kernel": ("data2vec", {"conv_pos_kernel_size": 4}),
}
LENGTHS = torch.tensor([40, 23, 1])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=list(KINDS))
def embedding(request, tiny_model):
    kind, changes = KINDS[request.param]
    return tiny_model(kind, **changes).encoder.pos_conv_embed


def test_it_is_the_embedding_of_transformers(embedding):
    hidden_states = draw(2, 40, 16)
    with torch.no_grad():
        expected = embedding(hidden_states)
        outputs = PositionConvolution(embedding)(hidden_states, None)
    torch.testing.assert_close(outputs, expected, atol=1e-4, rtol=1e-4)
    assert outputs.std() > 0.1


def test_a_clip_in_a_batch_is_as_it_is_alone(embedding):
    hidden_states = draw(3, 40, 16)
    for clip, length in enumerate(LENGTHS):
        hidden_states[clip, length:] = 0.0
    with torch.no_grad():
        alone = [embedding(hidden_states[[i], :n])[0] for i, n in enumerate(LENGTHS)]
        together = PositionConvolution(embedding)(hidden_states, LENGTHS)
    for clip, length in enumerate(LENGTHS):
        torch.testing.assert_close(together[clip, :length], alone[clip], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["data2vec", "hubert-batch-norm"])
def test_transformers_lets_the_padding_in(kind, tiny_model):
    """The reason for the zeros; should this fail one day, they may go."""
    embedding = tiny_model(kind).encoder.pos_conv_embed
    hidden_states = draw(1, 40, 16)
    hidden_states[0, 23:] = 0.0
    with torch.no_grad():
        difference = embedding(hidden_states)[0, :23] - embedding(hidden_states[:, :23])[0]
    assert difference.abs().max() > 1e-2


def test_the_weight_norm_is_folded_in_and_a_copy_keeps_its_own(tiny_model):
    model = tiny_model("hubert-group")
    kept = copy.deepcopy(model)
    hidden_states = draw(1, 40, 16)
    with torch.no_grad():
        expected = kept.encoder.pos_conv_embed(hidden_states)
    position = PositionConvolution(model.encoder.pos_conv_embed)
    assert {name for name, _ in position.named_parameters()} == {
        "steps.0.conv.weight",
        "steps.0.conv.bias",
    }
    with torch.no_grad():
        assert torch.equal(kept.encoder.pos_conv_embed(hidden_states), expected)
    conv = kept.encoder.pos_conv_embed.conv
    torch.testing.assert_close(position.steps[0].conv.weight, conv.weight)


def fold(direction):
    convolution = nn.Conv1d(512, 512, 16, groups=4)
    convolution.weight.data.copy_(direction)
    embedding = nn.Module()
    embedding.conv = nn.utils.parametrizations.weight_norm(convolution, dim=2)
    embedding.activation = nn.GELU()
    # Else the weight norm's own size hides what is summed up.
    embedding.conv.parametrizations.weight.original0.data.fill_(3.0)
    return PositionConvolution(embedding).steps[0].conv.weight.detach()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_folded_weight_hangs_on_neither_processor_nor_threads():
    """Else the fingerprint would: a cache, or a saved classifier, would not fit elsewhere.

    What differs from one to the other is the order in which the norm is added up.
    """
    direction = draw(512, 128, 16)
    torch.set_num_threads(1)
    folded = fold(direction)
    torch.set_num_threads(2)
    assert torch.equal(fold(direction), folded)
    for seed in range(3):
        order = torch.randperm(512, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(fold(direction[order]), folded[order])


def test_gradients_pass(tiny_model):
    position = PositionConvolution(tiny_model("data2vec").encoder.pos_conv_embed)
    hidden_states = draw(3, 40, 16).requires_grad_()
    position(hidden_states, LENGTHS)[0].square().sum().backward()
    assert hidden_states.grad[0].abs().min() > 0
    assert not hidden_states.grad[1:].any()
