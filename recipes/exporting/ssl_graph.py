# SPDX-License-Identifier: Apache-2.0
"""wav2vec 2.0, HuBERT, WavLM and their relatives as a graph."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxadapt.backbones.base import padding_mask_from_lengths
from voxadapt.backbones.convolutional_front_end import ConvolutionalFrontEnd, normalize_waveforms
from voxadapt.backbones.encoder_cut import twin
from voxadapt.backbones.layer_choice import combine
from voxadapt.backbones.relative_position_bias import relative_biases
from voxadapt.backbones.ssl_encoder import _NORMALIZATION_EPSILON, SSLEncoder
from voxadapt.recipes.exporting.attention_graph import graph_layer


class SSLGraph(nn.Module):
    """What `SSLEncoder` computes, with nothing that depends on the values of lengths.

    Args:
        encoder: The encoder, whose modules are used where they are.
    """

    def __init__(self, encoder: SSLEncoder) -> None:
        super().__init__()
        self.encoder = twin(encoder)
        self.encoder.run_layer = graph_layer
        self.front_end = ConvolutionGraph(encoder.front_end)
        self.minimum_samples = encoder.minimum_samples

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            waveforms: ``[B, S]`` float32, zero on padding, ``S`` at least `minimum_samples`.
            lengths: Real samples of each clip ``[B]``.

        Returns:
            Frames ``[B, T, D]``, whose padding may hold anything, and frames of each clip ``[B]``.
        """
        encoder = self.encoder
        if encoder.normalize:
            waveforms = normalize_waveforms(waveforms, lengths, _NORMALIZATION_EPSILON)
        lengths = lengths.clamp(min=self.minimum_samples)
        features = self.front_end(waveforms, lengths)  # [B, T, channels]
        frame_lengths = encoder.front_end.frame_lengths(lengths)
        states = ssl_states(encoder, self._embed(features, frame_lengths), frame_lengths)
        return combine(states, encoder.layer, encoder.final), frame_lengths

    def _embed(self, features: Tensor, frame_lengths: Tensor) -> Tensor:
        encoder = self.encoder
        if encoder.projection_norm is not None:
            features = encoder.projection_norm(features)
        hidden_states = encoder.projection(features)  # [B, T, D]
        padding_mask = padding_mask_from_lengths(frame_lengths, hidden_states.shape[1])
        hidden_states = hidden_states.masked_fill(padding_mask[..., None], 0.0)
        hidden_states = hidden_states + encoder.position(hidden_states, frame_lengths)
        return hidden_states if encoder.pre_norm else encoder.layer_norm(hidden_states)


def ssl_states(encoder: SSLEncoder, hidden_states: Tensor, lengths: Tensor) -> Iterator[Tensor]:
    """Yield ``hidden_states`` ``[N, T, D]``, then each layer's, as `SSLEncoder.states` does.

    Args:
        encoder: The encoder, or the upper part of its `cut`, with `graph_layer` as its `run_layer`.
        hidden_states: The first layer's input.
        lengths: Real frames of each clip ``[N]``, at least 1.
    """
    yield hidden_states
    biases = _biases(encoder, hidden_states.shape[1])
    for layer in encoder.layers:
        hidden_states = encoder._run(layer, hidden_states, lengths, biases)
        yield hidden_states


def _biases(encoder: SSLEncoder, frames: int) -> Tensor | None:
    """WavLM's bias of every distance ``[H, 2 T - 1]``; None for the others.

    Beyond a largest distance the bias stays the same, so that a table is enough; the logarithm that
    gives the buckets would be rounded in another way by every runtime.
    """
    attention: Any = encoder.layers[0].attention if len(encoder.layers) else None
    if not hasattr(attention, "rel_attn_embed"):
        return None
    most = attention.max_distance
    table = relative_biases(attention, most + 1)  # [H, 2 * most + 1]
    distances = torch.arange(-(frames - 1), frames).clamp(-most, most)
    return table[:, distances + most]


class ConvolutionGraph(nn.Module):
    """What `ConvolutionalFrontEnd` computes, all clips and all frames at once.

    Args:
        front_end: The convolutions, whose modules are used where they are.
    """

    def __init__(self, front_end: ConvolutionalFrontEnd) -> None:
        super().__init__()
        self.layers: Any = front_end.conv_layers
        self.kernel, self.stride = front_end.kernels[0], front_end.strides[0]
        self.normalized_over_time = front_end.normalized_over_time

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Compute features ``[B, T, channels]``; arguments as `ConvolutionalFrontEnd` has them."""
        first, *others = self.layers
        hidden_states = waveforms[:, None]  # [B, channels, T]
        if self.normalized_over_time:
            scale, offset = self._normalization(waveforms, lengths)
            hidden_states = F.conv1d(hidden_states, first.conv.weight, stride=self.stride)
            hidden_states = first.activation(hidden_states * scale + offset)
        else:
            hidden_states = first(hidden_states)
        for layer in others:
            hidden_states = layer(hidden_states)
        return hidden_states.transpose(1, 2)

    def _normalization(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the first layer's GroupNorm multiplies by and adds, each ``[B, channels, 1]``.

        Its statistics over a clip's real frames, from the windows that the filters see.
        """
        first = self.layers[0]
        weight = first.conv.weight[:, 0].T.double()  # [kernel, channels]
        windows = waveforms.unfold(1, self.kernel, self.stride).double()  # [B, T, kernel]
        count = (lengths - self.kernel) // self.stride + 1  # [B]
        padding = padding_mask_from_lengths(count, windows.shape[1])[..., None]
        count = count[:, None, None].double()
        mean = windows.masked_fill(padding, 0.0).sum(dim=1, keepdim=True) / count
        centred = (windows - mean).masked_fill(padding, 0.0)
        covariance = centred.transpose(1, 2) @ centred / count  # [B, kernel, kernel]
        variance = (weight * (covariance @ weight)).sum(dim=1)  # [B, channels]
        norm: nn.GroupNorm = first.layer_norm
        scale = norm.weight.double() * torch.rsqrt(variance.clamp(min=0.0) + norm.eps)
        offset = norm.bias.double() - scale * (mean @ weight)[:, 0]
        return scale.float()[..., None], offset.float()[..., None]
