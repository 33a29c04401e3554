# SPDX-License-Identifier: Apache-2.0
"""Convolutions over time with channels last, by the fastest kernel there is for them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense import KERNEL_TYPES


def convolve(
    convolution: nn.Conv1d, frames: Tensor, *, padding: int = 0, gelu: bool = False
) -> Tensor:
    """Convolve over time.

    Frames stay rows, as the linear layers and norms around want them, and the convolution is that
    of an image of height 1, for which torch has fast kernels with channels last; those of
    one-dimensional convolutions go back and forth between layouts. On a CPU the GELU is applied by
    the same kernel, while the result is in the registers.

    Args:
        convolution: Its weight should be laid out by `lay_out`.
        frames: `[N, T, channels]` float.
        padding: Zeros before the first and after the last frame.
        gelu: Whether the exact GELU follows.

    Returns:
        `[N, T', channels']`.
    """
    image = frames.transpose(1, 2).unsqueeze(2)  # [N, channels, 1, T]
    image = image.contiguous(memory_format=torch.channels_last)
    weight = convolution.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    stride = (1, convolution.stride[0])
    kernel = _onednn_convolution()
    if (
        gelu
        and kernel is not None
        and image.device.type == "cpu"
        and image.dtype in KERNEL_TYPES
        and image.dtype == weight.dtype
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    ):
        image = kernel(
            image,
            weight,
            convolution.bias,
            [0, padding],
            stride,
            [1, 1],
            convolution.groups,
            "gelu",
            [],
            "none",
        )
    else:
        image = F.conv2d(
            image, weight, convolution.bias, stride, (0, padding), groups=convolution.groups
        )
        image = F.gelu(image) if gelu else image
    return image.squeeze(2).transpose(1, 2)


def lay_out(convolution: nn.Conv1d) -> None:
    """Lay a weight `[channels', channels, kernel]` out with its channels last, in place.

    Its shape and its values stay; without this, each call would lay it out anew.
    """
    weight = convolution.weight.data
    convolution.weight.data = weight.permute(0, 2, 1).contiguous().permute(0, 2, 1)


def _onednn_convolution() -> Any:
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
