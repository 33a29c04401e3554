# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from voxadapt.backbones import dense as dense_module
from voxadapt.backbones.dense import dense


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(bias=True, dtype=torch.float32):
    module = nn.Linear(16, 24, bias=bias)
    for number, parameter in enumerate(module.parameters()):
        parameter.data.copy_(draw(*parameter.shape, seed=number))
    return module.to(dtype).requires_grad_(False)


@pytest.fixture
def fused(monkeypatch):
    """How often the fused kernel was called."""
    calls, run = [], dense_module.fused_linear
    monkeypatch.setattr(
        dense_module, "fused_linear", lambda *given: calls.append(given) or run(*given)
    )
    return calls


def transposed():
    return draw(2, 16, 5).transpose(1, 2)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize(
    "inputs",
    [draw(2, 5, 16), draw(16), draw(1, 16), draw(0, 16), transposed(), draw(2, 9, 16)[:, 2:7:2]],
    ids=["batch", "vector", "row", "none", "transposed", "with steps"],
)
def test_it_is_the_linear_layer(inputs, activation, bias, fused):
    module = linear(bias)
    expected = F.linear(inputs, module.weight, module.bias)
    expected = expected if activation == "none" else F.gelu(expected)
    with torch.no_grad():
        torch.testing.assert_close(dense(module, inputs, activation), expected)
    assert len(fused) == 1


@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_bfloat16(activation, fused):
    module, inputs = linear(dtype=torch.bfloat16), draw(2, 5, 16).bfloat16()
    expected = F.linear(inputs.float(), module.weight.float(), module.bias.float())
    expected = expected if activation == "none" else F.gelu(expected)
    with torch.no_grad():
        outputs = dense(module, inputs, activation)
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), expected, atol=0.05, rtol=0.01)
    assert len(fused) == 1


def test_the_kernel_is_there():
    """Without it everything works, at half the speed on some processors; so it would go unseen."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    assert dense_module._onednn_linear() is not None


@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_without_the_kernel(activation, monkeypatch, fused):
    module, inputs = linear(), draw(2, 5, 16)
    with torch.no_grad():
        expected = dense(module, inputs, activation)
        monkeypatch.setattr(dense_module, "_onednn_linear", lambda: None)
        torch.testing.assert_close(dense(module, inputs, activation), expected)
    assert len(fused) == 1


@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_gradients(activation, fused):
    gradients = []
    for run in (dense, lambda module, inputs, how: _plain(module, inputs, how)):
        module, inputs = linear().requires_grad_(True), draw(2, 5, 16).requires_grad_(True)
        (run(module, inputs, activation) * draw(2, 5, 24, seed=2)).sum().backward()
        gradients.append([inputs.grad, module.weight.grad, module.bias.grad])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not fused


def _plain(module, inputs, activation):
    outputs = F.linear(inputs, module.weight, module.bias)
    return outputs if activation == "none" else F.gelu(outputs)


def test_a_layer_with_lora_is_called_as_a_whole():
    from peft import LoraConfig, inject_adapter_in_model

    model = nn.Sequential(linear())
    plain = linear()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), model)
    inputs = draw(2, 5, 16)
    with torch.no_grad():
        outputs = dense(model[0], inputs)
        torch.testing.assert_close(outputs, model[0](inputs))
        assert (outputs - dense(plain, inputs)).abs().max() > 1e-3


def test_a_layer_of_another_type_is_called_as_a_whole():
    class Doubled(nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    module = Doubled(16, 24)
    with torch.no_grad():
        assert torch.equal(dense(module, draw(2, 16)), module(draw(2, 16)))


def test_types_that_do_not_go_together_are_an_error_as_for_any_linear_layer():
    with torch.no_grad(), pytest.raises(RuntimeError, match="dtype"):
        dense(linear(), draw(2, 16).bfloat16())


def test_float64_is_not_for_the_kernel(fused):
    with torch.no_grad():
        dense(linear(dtype=torch.float64), draw(2, 16).double())
    assert not fused
