# SPDX-License-Identifier: Apache-2.0
"""The convolutions of wav2vec 2.0 and its relatives: exact for padded batches, and fast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import padding_mask_from_lengths
from .convolve import convolve, lay_out
from .transformer_layers import is_gelu
from .widest_type import widest_type

# Frames of one clip that go through all layers before the next ones do. On a CPU what passes from
# layer to layer (64 values of the first layer's for one frame) then stays in the cache; a GPU
# wants enough work to fill it.
_CPU_FRAMES = 100
_GPU_FRAMES = 16_384


class ConvolutionalFrontEnd(nn.Module):
    """Waveforms to convolutional features that no padding can reach.

    The convolutions have no padding of their own, so a real frame sees real samples only; LayerNorm
    works frame by frame. But in the checkpoints with `feat_extract_norm="group"` (wav2vec 2.0 base,
    HuBERT base) the first layer normalises each channel over *time*, padding included, and no mask
    given to transformers can change that (huggingface/transformers#21534).

    Here the statistics of that GroupNorm are never taken of the channels at all. A channel is a
    filter `w` over windows `x` of 10 samples, so over the real frames of a clip its mean is
    `w · mean(x)` and its variance `wᵀ cov(x) w`: one covariance matrix of 10 by 10 tells them for
    all 512 channels, exactly, for a whole batch of clips. The normalisation then becomes part of
    each clip's filters, and its two passes over the largest tensor of the encoder are gone.

    What follows the first layer is computed in pieces of time, with channels last, so that it stays
    in a CPU's cache. Every weight is the checkpoint's own.

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
        self.conv_layers: Any = conv_layers
        layer: Any
        for layer in conv_layers:
            lay_out(layer.conv)
        self.kernels = tuple(kernels)
        self.strides = tuple(strides)
        self.normalized_over_time = normalized_over_time
        self.hop = math.prod(self.strides)

    @property
    def minimum_samples(self) -> int:
        """Samples that one frame sees: its receptive field."""
        return self._inputs_for(1)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for clips of `lengths` `[B]` samples, at least `minimum_samples`."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Compute the features.

        Args:
            waveforms: `[B, S]` float32, finite on the padding too.
            lengths: Real samples of each clip `[B]`, at least `minimum_samples`.

        Returns:
            Features `[B, T, channels]` in the type of the weights; the first
            `frame_lengths(lengths)` of a clip are real, and `T` is the most that a clip has.
        """
        filters, biases = self._first_filters(waveforms, lengths)
        frame_lengths = self.frame_lengths(lengths).tolist()
        dtype = self.conv_layers[-1].conv.weight.dtype
        channels = self.conv_layers[-1].conv.out_channels
        features = torch.zeros(
            (len(waveforms), max(frame_lengths), channels), dtype=dtype, device=waveforms.device
        )
        for rows, first, last in _pieces(frame_lengths, waveforms.device.type):
            start = first * self.hop
            samples = waveforms[rows, start : start + self._inputs_for(last - first)]
            of_rows = rows if len(filters) > 1 else slice(0, 1)
            hidden_states = self._filter(samples, filters[of_rows], biases[of_rows])
            features[rows, first:last] = self._convolve(hidden_states.to(dtype))
        return features

    def _inputs_for(self, frames: int) -> int:
        """Samples that so many frames in a row see."""
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            frames = (frames - 1) * stride + kernel
        return frames

    def _first_filters(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first layer's filters `[1 or B, kernel, channels]` and biases, float32."""
        first: Any = self.conv_layers[0]
        dtype = widest_type(first.conv.weight.device)
        weight = first.conv.weight[:, 0].T.to(dtype)  # [kernel, channels]
        if not self.normalized_over_time:
            bias = first.conv.bias
            bias = weight.new_zeros(weight.shape[1]) if bias is None else bias
            return weight[None].float(), bias[None, None].float()
        mean, covariance = self._window_moments(waveforms, lengths)
        # A bias of the convolution would be taken out again by the normalisation.
        variance = (weight * (covariance @ weight)).sum(dim=1)  # [B, channels]
        norm: nn.GroupNorm = first.layer_norm
        scale = norm.weight.to(dtype) * torch.rsqrt(variance.clamp(min=0.0) + norm.eps)
        biases = norm.bias.to(dtype) - scale * (mean @ weight)
        return (weight * scale[:, None]).float(), biases[:, None].float()

    def _window_moments(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mean `[B, kernel]` and covariance `[B, kernel, kernel]` of each clip's real windows."""
        kernel, stride = self.kernels[0], self.strides[0]
        dtype = widest_type(waveforms.device)
        means, covariances = [], []
        for waveform, length in zip(waveforms, lengths.tolist(), strict=True):
            windows = waveform[:length].unfold(0, kernel, stride).to(dtype)  # [T_0, kernel]
            means.append(windows.mean(dim=0))
            centred = windows - means[-1]
            covariances.append(centred.T @ centred / len(windows))
        return torch.stack(means), torch.stack(covariances)

    def _filter(self, samples: Tensor, filters: Tensor, biases: Tensor) -> Tensor:
        """Run the first layer, norm and activation included, in float32.

        Args:
            samples: `[b, S']`.
            filters: `[1 or b, kernel, channels]`.
            biases: `[1 or b, 1, channels]`.

        Returns:
            `[b, T_0, channels]`.
        """
        first: Any = self.conv_layers[0]
        windows = samples.unfold(-1, self.kernels[0], self.strides[0])  # [b, T_0, kernel]
        hidden_states = torch.baddbmm(biases, windows, filters.expand(len(windows), -1, -1))
        if not self.normalized_over_time and getattr(first, "layer_norm", None) is not None:
            norm: nn.LayerNorm = first.layer_norm
            hidden_states = F.layer_norm(
                hidden_states,
                norm.normalized_shape,
                norm.weight.float(),
                norm.bias.float(),
                norm.eps,
            )
        activated: Tensor = first.activation(hidden_states)
        return activated

    def _convolve(self, hidden_states: Tensor) -> Tensor:
        """Run the layers after the first, `[b, T_0, channels]` to `[b, T, channels]`."""
        layers: list[Any] = list(self.conv_layers)[1:]
        for layer in layers:
            norm = getattr(layer, "layer_norm", None)
            fused = norm is None and is_gelu(layer.activation)
            hidden_states = convolve(layer.conv, hidden_states, gelu=fused)
            if not fused:
                hidden_states = hidden_states if norm is None else norm(hidden_states)
                hidden_states = layer.activation(hidden_states)
        return hidden_states


def _pieces(frame_lengths: list[int], device: str) -> Iterator[tuple[slice, int, int]]:
    """Yield rows of the batch and the frames of them that are computed together."""
    if device == "cpu":
        for row, length in enumerate(frame_lengths):
            for first in range(0, length, _CPU_FRAMES):
                yield slice(row, row + 1), first, min(first + _CPU_FRAMES, length)
        return
    frames = max(1, _GPU_FRAMES // len(frame_lengths))
    for first in range(0, max(frame_lengths), frames):
        yield slice(None), first, min(first + frames, max(frame_lengths))


def normalize_waveforms(waveforms: Tensor, lengths: Tensor, epsilon: float) -> Tensor:
    """Bring each clip to zero mean and unit variance over its real samples.

    Args:
        waveforms: `[B, S]` float, zero on padding.
        lengths: Real samples per clip `[B]`.
        epsilon: Added to the variance.

    Returns:
        `[B, S]`, zero on padding.
    """
    padding_mask = padding_mask_from_lengths(lengths, waveforms.shape[1])
    count = lengths[:, None]
    centred = waveforms - waveforms.sum(dim=1, keepdim=True) / count
    centred = centred.masked_fill(padding_mask, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count  # [B, 1]
    return centred / torch.sqrt(variance + epsilon)
