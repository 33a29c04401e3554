# SPDX-License-Identifier: Apache-2.0
"""The matrix product of a frozen linear layer, by the fastest kernel there is for it."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL_TYPES = (torch.float32, torch.bfloat16)
"""What oneDNN is used for."""


def dense(
    module: nn.Module, inputs: Tensor, activation: Literal["none", "gelu"] = "none"
) -> Tensor:
    """Apply a linear layer, and a GELU after it.

    On a CPU torch hands float32 products to MKL, which leaves half of an AMD processor's width
    unused (210 against 460 GFLOP/s on two cores of an EPYC, both exact float32). oneDNN, which
    torch is built with too, uses all of it and applies the GELU before the result leaves the
    registers. torch reaches it through the operator that `torch.compile` uses. That one has no
    gradient, so while gradients are recorded, and for anything that is not a plain `nn.Linear`
    (such as one with LoRA), the module itself is called.

    Args:
        module: An `nn.Linear`, or a module in its place.
        inputs: `[..., D]` float.
        activation: `gelu` is the exact one, by the error function.

    Returns:
        `[..., D']`.
    """
    if type(module) is nn.Linear and fused_linear_for(inputs, module.weight):
        return fused_linear(inputs, module.weight, module.bias, activation)
    outputs: Tensor = module(inputs)
    return outputs if activation == "none" else F.gelu(outputs)


def fused_linear_for(inputs: Tensor, weight: Tensor) -> bool:
    """Whether `fused_linear` can be used here, and is the faster way."""
    return (
        inputs.device.type == "cpu"
        and inputs.dtype in KERNEL_TYPES
        and inputs.dtype == weight.dtype
        and not torch.is_grad_enabled()
        # Under torch.compile inductor chooses; and it cannot take this operator as it is.
        and not torch.compiler.is_compiling()
        and _onednn_linear() is not None
    )


def fused_linear(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, activation: Literal["none", "gelu"]
) -> Tensor:
    """Multiply `[..., D]` by `weight` `[D', D]`, add `bias` `[D']`, and apply the activation."""
    algorithm = "none" if activation == "gelu" else ""
    result: Tensor = _onednn_linear()(inputs, weight, bias, activation, [], algorithm)
    return result


def _onednn_linear() -> Any:
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)
