# SPDX-License-Identifier: Apache-2.0
"""The linear layer that trains: its values, its gradients, and where it is left to torch."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxadapt.adapters import dense as dense_module
from voxadapt.adapters.dense import dense, linear


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_layer(bias: bool = True) -> nn.Linear:
    torch.manual_seed(7)
    return nn.Linear(16, 24, bias=bias)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the kernel was called with."""
    calls: list[tuple[Any, ...]] = []
    run = dense_module._multiply
    monkeypatch.setattr(
        dense_module, "_multiply", lambda *given: calls.append(given) or run(*given)
    )
    return calls


SHAPED = {
    "batch": draw(2, 5, 16),
    "vector": draw(16),
    "row": draw(1, 16),
    "transposed": draw(2, 16, 5).transpose(1, 2),
    "with steps": draw(2, 9, 16)[:, 2:7:2],
    "every other feature": draw(4, 32)[:, ::2],
    "expanded": draw(1, 16).expand(5, 16),
}
INPUTS = pytest.mark.parametrize("inputs", SHAPED.values(), ids=SHAPED)


def values_and_gradients(
    apply: Callable[..., Tensor], tensors: list[Tensor | None], slope: Tensor | None
) -> list[Tensor]:
    """What ``apply(*tensors)`` gives, and the gradient of its product with ``slope`` (or sum)."""
    leaves = [None if tensor is None else tensor.clone().requires_grad_() for tensor in tensors]
    outputs = apply(*leaves)
    loss = outputs.sum() if slope is None else (outputs * slope.to(outputs)).sum()
    return [outputs, *torch.autograd.grad(loss, [leaf for leaf in leaves if leaf is not None])]


@INPUTS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("summed", [True, False])
def test_values_and_gradients_are_those_of_float64(
    inputs: Tensor, bias: bool, summed: bool, products: list[Any]
) -> None:
    layer = make_layer(bias)
    tensors = [inputs, layer.weight.detach(), layer.bias.detach() if bias else None]
    slope = None if summed else draw(*inputs.shape[:-1], 24, seed=1)
    ours = values_and_gradients(linear, tensors, slope)
    assert len(products) == 3  # forward, and the gradients of inputs and weight
    doubles = [None if tensor is None else tensor.double() for tensor in tensors]
    theirs = values_and_gradients(F.linear, doubles, slope)
    assert len(products) == 3
    assert len(ours) == len(theirs) == (4 if bias else 3)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_batches_of_many_shapes_are_few_shapes_to_the_kernel(products: list[Any]) -> None:
    weight, bias, shapes = draw(24, 16, seed=1), draw(24, seed=2), set()
    for frames in (128, 131, 150, 159):
        inputs, slope = draw(2, frames, 16), draw(2, frames, 24, seed=3)
        ours = values_and_gradients(linear, [inputs, weight, bias], slope)
        doubles: list[Tensor | None] = [inputs.double(), weight.double(), bias.double()]
        for one, other in zip(ours, values_and_gradients(F.linear, doubles, slope), strict=True):
            assert one.shape == other.shape
            torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)
        shapes |= {(tuple(rows.shape), tuple(other.shape)) for rows, other, _ in products}
    assert len(products) == 12
    assert len(shapes) == 6  # three of 256 rows, and three of 320


def test_a_layer_of_the_size_of_an_adapter() -> None:
    torch.manual_seed(0)
    inputs, weight, bias = torch.randn(3, 125, 768), torch.randn(192, 768), torch.randn(192)
    slope = torch.randn(3, 125, 192)
    ours = values_and_gradients(linear, [inputs, weight, bias], slope)
    doubles: list[Tensor | None] = [inputs.double(), weight.double(), bias.double()]
    for one, other in zip(ours, values_and_gradients(F.linear, doubles, slope), strict=True):
        assert (one - other).abs().max() <= 1e-6 * other.abs().max()


@INPUTS
def test_without_gradient(inputs: Tensor, products: list[Any]) -> None:
    layer = make_layer()
    with torch.no_grad():
        outputs = dense(layer, inputs)
        torch.testing.assert_close(outputs, layer(inputs))
    assert len(products) == 1
    assert not outputs.requires_grad
    frozen = make_layer().requires_grad_(False)
    assert dense(frozen, inputs).grad_fn is None
    assert len(products) == 2


def test_only_the_gradients_that_are_wanted_are_computed(products: list[Any]) -> None:
    layer, inputs = make_layer(), draw(2, 5, 16)
    dense(layer, inputs).sum().backward()  # as the frozen frames, which want none
    assert len(products) == 2
    assert layer.weight.grad is not None
    assert inputs.grad is None
    frozen, wanted = make_layer().requires_grad_(False), draw(2, 5, 16).requires_grad_()
    dense(frozen, wanted).sum().backward()
    assert len(products) == 4
    assert frozen.weight.grad is None
    torch.testing.assert_close(wanted.grad, frozen.weight.sum(dim=0).expand(2, 5, 16))


def test_gradients_have_gradients(products: list[Any]) -> None:
    """As a gradient penalty wants them."""
    layer = make_layer()
    seconds = []
    for apply in (linear, F.linear):
        inputs = draw(2, 5, 16).requires_grad_()
        outputs = apply(inputs, layer.weight, layer.bias)
        (slope,) = torch.autograd.grad(outputs.pow(3).sum(), inputs, create_graph=True)
        seconds.append(torch.autograd.grad(slope.pow(2).sum(), [inputs, layer.weight, layer.bias]))
    assert len(products) > 3
    for one, other in zip(*seconds, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_gradients_against_finite_differences() -> None:
    """In float32, so coarse; it would see a gradient that is transposed, missing or doubled."""
    tensors = tuple(draw(*shape, seed=4).requires_grad_() for shape in ((3, 4), (5, 4), (5,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradcheck would rather have float64
        assert torch.autograd.gradcheck(linear, tensors, eps=1e-2, atol=1e-2, rtol=1e-2)


def test_repeated_it_is_bit_for_bit_the_same() -> None:
    torch.manual_seed(0)
    tensors: list[Tensor | None] = [torch.randn(375, 160), torch.randn(192, 160), torch.randn(192)]
    slope = torch.randn(375, 192)
    first = values_and_gradients(linear, tensors, slope)
    for _ in range(3):
        again = values_and_gradients(linear, tensors, slope)
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_kernel_is_there() -> None:
    """Without it everything works, at half the speed on some processors; so it would go unseen."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    assert dense_module._onednn_linear() is not None


def assert_left_to_torch(
    products: list[Any], layer: nn.Linear | None = None, inputs: Tensor | None = None
) -> None:
    layer = make_layer() if layer is None else layer
    inputs = draw(2, 5, 16) if inputs is None else inputs
    outputs, expected = dense(layer, inputs), layer(inputs)
    assert outputs.dtype == expected.dtype
    assert torch.equal(outputs, expected)
    assert not products


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(dtype: torch.dtype, products: list[Any]) -> None:
    assert_left_to_torch(products, make_layer().to(dtype), draw(2, 5, 16).to(dtype))


def test_autocast_is_left_to_torch(products: list[Any]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_left_to_torch(products)
        assert dense(make_layer(), draw(2, 16)).dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert dense(make_layer(), draw(2, 16)).dtype == torch.float32
    assert len(products) == 1


def test_no_frames_are_left_to_torch(products: list[Any]) -> None:
    layer = make_layer()
    assert_left_to_torch(products, layer, torch.zeros(0, 16))
    dense(layer, torch.zeros(0, 16)).sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


def test_without_the_kernel(monkeypatch: pytest.MonkeyPatch, products: list[Any]) -> None:
    monkeypatch.setattr(dense_module, "_onednn_linear", lambda: None)
    assert_left_to_torch(products)


def test_where_it_is_switched_off(products: list[Any]) -> None:
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        assert_left_to_torch(products)


def test_types_that_do_not_go_together_are_an_error_as_for_any_linear_layer() -> None:
    with pytest.raises(RuntimeError, match="dtype"):
        dense(make_layer(), draw(2, 16).bfloat16())


def test_sizes_that_do_not_go_together_are_an_error_as_for_any_linear_layer() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        dense(make_layer(), draw(2, 15))


def test_function_transforms_are_left_to_torch(products: list[Any]) -> None:
    layer = make_layer()
    inputs = draw(3, 5, 16)
    torch.testing.assert_close(torch.vmap(lambda row: dense(layer, row))(inputs), layer(inputs))
    slope = torch.func.grad(lambda given: dense(layer, given).sum())(inputs)
    torch.testing.assert_close(slope, layer.weight.sum(dim=0).expand(3, 5, 16))
    assert not products


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = make_layer()

    def forward(self, inputs: Tensor) -> Tensor:
        return dense(self.layer, inputs)


@pytest.mark.parametrize("strict", [True, False])
def test_export_has_torchs_own_operators(strict: bool, products: list[Any]) -> None:
    wrapped, inputs = Wrapped(), draw(2, 5, 16)
    program = torch.export.export(wrapped, (inputs,), strict=strict)
    assert "mkldnn" not in str(program.graph)
    assert "aten.linear" in str(program.graph)
    assert not products
    torch.testing.assert_close(program.module()(inputs), wrapped(inputs))


def test_a_trace_has_torchs_own_operators(products: list[Any]) -> None:
    """As the older exporter to ONNX takes it."""
    wrapped, inputs = Wrapped(), draw(2, 5, 16)
    with torch.no_grad():
        traced = torch.jit.trace(wrapped, (inputs,), check_trace=False)
    assert "mkldnn" not in str(traced.inlined_graph)
    assert not products


def test_torch_compile_sees_the_linear_layer(products: list[Any]) -> None:
    wrapped, inputs = Wrapped(), draw(2, 5, 16)
    compiled = torch.compile(wrapped, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(inputs), wrapped.layer(inputs))
    assert not products


def test_a_layer_with_lora_is_called_as_a_whole() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = nn.Sequential(make_layer())
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), model)
    inputs = draw(2, 5, 16)
    outputs = dense(model[0], inputs)
    assert torch.equal(outputs, model[0](inputs))
    assert (outputs - make_layer()(inputs)).abs().max() > 1e-3


def test_a_layer_of_another_type_is_called_as_a_whole() -> None:
    class Doubled(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return 2 * super().forward(inputs)

    layer = Doubled(16, 24)
    assert torch.equal(dense(layer, draw(2, 16)), layer(draw(2, 16)))


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
def test_hooks_run(kind: str) -> None:
    layer, calls = make_layer(), []
    register = getattr(layer, f"register_{kind}_hook")
    handle = register(lambda *_: calls.append(kind))
    dense(layer, draw(2, 16).requires_grad_()).sum().backward()
    assert calls == [kind]
    handle.remove()
    dense(layer, draw(2, 16).requires_grad_()).sum().backward()
    assert calls == [kind]
