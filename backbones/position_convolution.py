# SPDX-License-Identifier: Apache-2.0
"""The convolutional position embeddings of wav2vec 2.0 and its relatives, exact under padding."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from .base import padding_mask_from_lengths
from .convolve import convolve, lay_out
from .transformer_layers import is_gelu


class PositionConvolution(nn.Module):
    """Position from grouped convolutions over time, with zeros beyond a clip's end.

    wav2vec 2.0 has one convolution over 128 frames; data2vec a stack of five over 19, each with a
    LayerNorm. transformers puts zeros on padding before the first of the stack only, so what its
    biases make of the padding runs back into real frames (huggingface/transformers#25621). Here
    there are zeros before each of them, as there are for a clip alone.

    Args:
        embedding: `encoder.pos_conv_embed` of a transformers model. A weight norm is folded in: the
            weight of a frozen convolution need be computed only once.
    """

    def __init__(self, embedding: Any) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            embedding.layers if hasattr(embedding, "layers") else [embedding]
        )
        step: Any
        for step in self.steps:
            step.conv = _plain(step.conv)
            lay_out(step.conv)

    def forward(self, hidden_states: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute the embedding.

        Args:
            hidden_states: `[N, T, D]` float, zero on padding.
            lengths: Real frames of each clip `[N]`; None where all are.

        Returns:
            `[N, T, D]`; the padding may hold anything.
        """
        padding = None
        if lengths is not None:
            padding = padding_mask_from_lengths(lengths, hidden_states.shape[1])[..., None]
        for number, step in enumerate(self.steps):
            if padding is not None and number > 0:
                hidden_states = hidden_states.masked_fill(padding, 0.0)
            hidden_states = _run(step, hidden_states, padding)
        return hidden_states


def _plain(convolution: nn.Conv1d) -> nn.Conv1d:
    """Return the convolution with its weight norm folded in.

    `remove_parametrizations` would take it away from the copies of the model as well.
    """
    if not parametrize.is_parametrized(convolution):
        return convolution
    weight = _folded(convolution)
    plain = nn.utils.skip_init(
        nn.Conv1d,
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size[0],
        groups=convolution.groups,
        bias=convolution.bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    plain.weight.data.copy_(weight)
    if convolution.bias is not None and plain.bias is not None:
        plain.bias.data.copy_(convolution.bias.detach())
    return plain


def _folded(convolution: Any) -> Tensor:
    """Return the weight with its norm as it was trained.

    torch adds up the norm in an order that hangs on the processor and on how many threads there
    are. In float64 that is lost in the rounding, so the weights, and with them the fingerprint, are
    the same everywhere.
    """
    magnitude = convolution.parametrizations.weight.original0.detach()
    direction = convolution.parametrizations.weight.original1.detach()
    summed = [axis for axis in range(direction.ndim) if magnitude.shape[axis] == 1]
    norm = direction.double().square().sum(dim=summed, keepdim=True).sqrt().float()
    return direction * (magnitude / norm)


def _run(step: Any, hidden_states: Tensor, padding: Tensor | None) -> Tensor:
    """Run one convolution with its norm and activation, `[N, T, D]` to the same."""
    frames = hidden_states.shape[1]
    if getattr(step, "batch_norm", None) is not None:
        hidden_states = step.batch_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        if padding is not None:
            hidden_states = hidden_states.masked_fill(padding, 0.0)
    norm = getattr(step, "layer_norm", None)
    fused = norm is None and is_gelu(step.activation)
    convolution: nn.Conv1d = step.conv
    # An even kernel gives one frame more than there were; the last one is dropped.
    hidden_states = convolve(
        convolution, hidden_states, padding=convolution.kernel_size[0] // 2, gelu=fused
    )[:, :frames]
    if fused:
        return hidden_states
    hidden_states = hidden_states if norm is None else norm(hidden_states)
    activated: Tensor = step.activation(hidden_states)
    return activated
