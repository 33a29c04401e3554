# SPDX-License-Identifier: Apache-2.0
"""The matrix product of a linear layer that trains, by the fastest kernel there is for it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS, LEAST_ROWS = 64, 256
"""oneDNN makes a kernel for each shape it meets, which takes as long as a product, and keeps 1,024.
Batches of frames hardly ever have the same shape twice; so larger ones are filled up with zeros."""


def dense(module: nn.Module, inputs: Tensor) -> Tensor:
    """Apply a linear layer.

    Anything else in its place (a layer with LoRA, or with hooks, as pruning has them) is called as
    it is.

    Args:
        module: An ``nn.Linear``, or a module in its place.
        inputs: ``[..., D]`` float.

    Returns:
        ``[..., D']``.
    """
    if type(module) is nn.Linear and not _has_hooks(module):
        return linear(inputs, module.weight, module.bias)
    outputs: Tensor = module(inputs)
    return outputs


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``inputs @ weightᵀ + bias`` as ``F.linear`` does.

    On a CPU torch hands float32 products to MKL, which leaves half of an AMD processor's width
    unused. oneDNN, which torch is built with too, uses all of it: 350 against 205 GFLOP/s forward
    and backward, on two cores of an EPYC, both exact float32. torch reaches it through the operator
    that ``torch.compile`` uses, which has no gradient of its own; here it gets one. In half
    precision torch's own way is the faster one, and is taken.

    Args:
        inputs: ``[..., D]`` float.
        weight: ``[D', D]``.
        bias: ``[D']``; None adds nothing.

    Returns:
        ``[..., D']``.
    """
    if not _onednn_is_for(inputs, weight):
        return F.linear(inputs, weight, bias)
    rows = inputs.reshape(-1, inputs.shape[-1])  # [N, D]
    count, missing = len(rows), -len(rows) % ROWS
    if missing and count >= LEAST_ROWS:
        rows = F.pad(rows, (0, 0, 0, missing))
    return _product(rows, weight, bias)[:count].view(*inputs.shape[:-1], len(weight))


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    tensors = (rows, weight) if bias is None else (rows, weight, bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        outputs: Tensor = _Product.apply(rows, weight, bias)
        return outputs
    return _multiply(rows, weight, bias)


class _Product(torch.autograd.Function):
    """``[N, D]`` by ``[D', D]`` by oneDNN; the gradients are such products and have gradients."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _multiply(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        for_rows, for_weight, for_bias = ctx.needs_input_grad
        # The gradient of a sum is one number, expanded, which the kernel could not read.
        slope = gradients[0].contiguous()  # [N, D']
        rows_gradient = weight_gradient = bias_gradient = None
        if for_rows:
            rows_gradient = _product(slope, weight.t())
        if for_weight and rows.shape[1] < slope.shape[1]:
            # The kernel copies its first matrix where it is transposed: the smaller one, then.
            weight_gradient = _product(rows.t(), slope.t()).t()
        elif for_weight:
            weight_gradient = _product(slope.t(), rows.t())
        if for_bias:
            bias_gradient = slope.sum(dim=0)
        return rows_gradient, weight_gradient, bias_gradient


def _onednn_is_for(inputs: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can be used here, and is the faster way."""
    return (
        not torch.jit.is_tracing()
        # Not for tensors that stand for something else: traced, sharded or vectorised ones.
        and type(inputs) is Tensor
        and type(weight) in (Tensor, nn.Parameter)
        and inputs.device.type == weight.device.type == "cpu"
        and inputs.dtype == weight.dtype == torch.float32
        and inputs.numel() > 0
        and inputs.shape[-1:] == weight.shape[1:]  # torch has the clearer error
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        # Under torch.compile inductor chooses, and what is exported must run elsewhere.
        and not torch.compiler.is_compiling()
        and not torch.onnx.is_in_onnx_export()
        and not torch._C._are_functorch_transforms_active()
        and _onednn_linear() is not None
    )


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    outputs: Tensor = _onednn_linear()(inputs, weight, bias, "none", [], "")
    return outputs


def _onednn_linear() -> Any:
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
