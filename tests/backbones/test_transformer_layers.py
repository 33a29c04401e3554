# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from voxadapt.backbones import ssl_encoder, whisper_encoder
from voxadapt.backbones.transformer_layers import is_gelu, transformer_layer

# Kind of the model, whether its layers have the norms first, and what its parts are called.
LAYERS = {
    "hubert-group": (False, ssl_encoder._NAMES),
    "hubert-stable": (True, ssl_encoder._NAMES),
    "whisper": (True, whisper_encoder._NAMES),
}
LENGTHS = torch.tensor([12, 7, 1])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=list(LAYERS))
def given(request, tiny_model):
    """A layer of transformers, and how it is run here."""
    pre_norm, names = LAYERS[request.param]
    model = tiny_model(request.param)
    return model.encoder.layers[1], {"names": names, "heads": 2, "pre_norm": pre_norm}


def run_by_transformers(layer, hidden_states):
    outputs = layer(hidden_states, attention_mask=None)
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def run(layer, hidden_states, lengths=None, *, names, **options):
    return transformer_layer(layer, names, hidden_states, lengths, **options)


@pytest.mark.parametrize("grad", [True, False])
def test_it_is_the_layer_of_transformers(given, grad):
    layer, options = given
    hidden_states = draw(3, 12, 16)
    with torch.set_grad_enabled(grad):
        outputs = run(layer, hidden_states, **options)
        expected = run_by_transformers(layer, hidden_states)
    torch.testing.assert_close(outputs, expected, atol=1e-4, rtol=1e-4)


def test_a_clip_in_a_batch_is_as_it_is_alone(given):
    layer, options = given
    hidden_states = draw(3, 12, 16)
    with torch.no_grad():
        alone = [
            run_by_transformers(layer, hidden_states[[i], :n])[0] for i, n in enumerate(LENGTHS)
        ]
        for clip, length in enumerate(LENGTHS):
            hidden_states[clip, length:] = 1e3
        together = run(layer, hidden_states, LENGTHS, **options)
    for clip, length in enumerate(LENGTHS):
        torch.testing.assert_close(together[clip, :length], alone[clip], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 5, 12])
def test_only_the_first_frames(given, frames):
    layer, options = given
    hidden_states = draw(3, 12, 16)
    with torch.no_grad():
        expected = run(layer, hidden_states, **options)
        first = run(layer, hidden_states, frames=frames, **options)
    assert first.shape == (3, frames, 16)
    torch.testing.assert_close(first, expected[:, :frames], atol=1e-5, rtol=1e-5)


def test_a_bias_is_of_what_the_attention_reads(given):
    layer, options = given
    seen = []

    def bias(attention_input):
        seen.append(attention_input)
        return lambda start, stop: draw(1, 2, 12, 12, seed=4)[:, :, start:stop]

    hidden_states = draw(3, 12, 16)
    with torch.no_grad():
        outputs = run(layer, hidden_states, bias=bias, **options)
        norm = getattr(layer, options["names"].attention_norm)
        expected = norm(hidden_states) if options["pre_norm"] else hidden_states
        assert (outputs - run(layer, hidden_states, **options)).abs().max() > 1e-2
    torch.testing.assert_close(seen[0], expected)


def test_gradients_are_those_of_transformers(given):
    layer, options = given
    gradients = []
    for function in (lambda *both: run(*both, **options), run_by_transformers):
        own = copy.deepcopy(layer).requires_grad_(True)
        hidden_states = draw(3, 12, 16).requires_grad_()
        (function(own, hidden_states) * draw(3, 12, 16, seed=1)).sum().backward()
        named = {name: parameter.grad for name, parameter in own.named_parameters()}
        gradients.append({"input": hidden_states.grad, **named})
    assert gradients[0].keys() == gradients[1].keys()
    for name, theirs in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu_new", "quick_gelu", "gelu_10"])
def test_other_activations(activation, tiny_model):
    layer = tiny_model("hubert-group", hidden_act=activation).encoder.layers[0]
    options = {"names": ssl_encoder._NAMES, "heads": 2, "pre_norm": False}
    hidden_states = 3 * draw(3, 12, 16)
    with torch.no_grad():
        outputs = run(layer, hidden_states, **options)
        expected = run_by_transformers(layer, hidden_states)
    torch.testing.assert_close(outputs, expected, atol=1e-4, rtol=1e-4)


def test_is_gelu():
    """Of the many that are called so, only those that are the exact one."""
    from transformers.activations import ACT2FN

    values = torch.linspace(-14, 14, 1_000)
    exact = {name for name in ACT2FN if is_gelu(ACT2FN[name])}
    assert {"gelu", "gelu_python"} == exact
    for name in exact:
        torch.testing.assert_close(ACT2FN[name](values), F.gelu(values))
    assert is_gelu(F.gelu)
    assert is_gelu(nn.GELU())
    assert not is_gelu(nn.GELU("tanh"))
    assert not is_gelu(F.relu)
