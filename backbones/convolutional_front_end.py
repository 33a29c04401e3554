# SPDX-License-Identifier: Apache-2.0
"""The convolutions of wav2vec 2.0, HuBERT and WavLM, made exact for padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import padding_mask_from_lengths


class ConvolutionalFrontEnd(nn.Module):
    """Waveforms to convolutional features that no padding can reach.

    The convolutions have no padding of their own, so a real frame sees real samples only; LayerNorm
    works frame by frame. But in the checkpoints with `feat_extract_norm="group"` (wav2vec 2.0 base,
    HuBERT base) the first layer normalises each channel over *time*, padding included, and no mask
    given to transformers can change that (huggingface/transformers#21534). So that one
    normalisation is done here, with mean and variance over each clip's real frames, for the whole
    batch at once. Every weight is the checkpoint's own.

    Args:
        conv_layers: `feature_extractor.conv_layers` of a transformers model.
        kernels: Kernel size of each layer (samples of that layer's input).
        strides: Stride of each layer.
        normalized_over_time: Whether the first layer has the GroupNorm, as with
            `feat_extract_norm="group"`.
    """

    def __init__(
        self,
        conv_layers: nn.ModuleList,
        kernels: Sequence[int],
        strides: Sequence[int],
        *,
        normalized_over_time: bool,
    ) -> None:
        super().__init__()
        self.conv_layers = conv_layers
        self.kernels = tuple(kernels)
        self.strides = tuple(strides)
        self.normalized_over_time = normalized_over_time

    @property
    def minimum_samples(self) -> int:
        """Samples that one frame sees: its receptive field."""
        samples = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for clips of `lengths` `[B]` samples, at least `minimum_samples`."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Compute the features.

        Args:
            waveforms: `[B, S]` float, finite on the padding too.
            lengths: Real samples of each clip `[B]`, at least `minimum_samples`.

        Returns:
            Features `[B, T, channels]`; the first `frame_lengths(lengths)` of a clip are real.
        """
        hidden_states = waveforms[:, None]  # [B, 1, S]
        layers: list[Any] = list(self.conv_layers)
        if self.normalized_over_time:
            first = layers.pop(0)
            first_lengths = (lengths - self.kernels[0]) // self.strides[0] + 1
            hidden_states = normalize_over_time(
                first.conv(hidden_states), first_lengths, first.layer_norm
            )
            hidden_states = first.activation(hidden_states)
        for layer in layers:
            hidden_states = layer(hidden_states)
        return hidden_states.transpose(1, 2)  # [B, T, channels]


def normalize_over_time(hidden_states: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply a GroupNorm of one channel per group, with statistics over real frames only.

    Args:
        hidden_states: `[B, channels, T]` float; changed in place, as it is the largest tensor of
            the whole encoder.
        lengths: Real frames of each clip `[B]`, at least 1.
        norm: Where weight, bias and epsilon come from.

    Returns:
        Normalised `[B, channels, T]`; padding holds the bias.
    """
    padding = padding_mask_from_lengths(lengths, hidden_states.shape[-1])[:, None]  # [B, 1, T]
    dtype = hidden_states.dtype
    count = lengths[:, None, None].float()
    centred = hidden_states.float().masked_fill_(padding, 0.0)
    centred = centred.sub_(centred.sum(dim=-1, keepdim=True) / count).masked_fill_(padding, 0.0)
    variance = centred.square().sum(dim=-1, keepdim=True) / count  # [B, channels, 1]
    scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
    return (centred * scale + norm.bias[:, None]).to(dtype)
