# SPDX-License-Identifier: Apache-2.0
"""Attention with a bias as a graph: all queries at once, since a graph has no loop over blocks."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxadapt.backbones.attention import join_heads, split_heads
from voxadapt.backbones.base import padding_mask_from_lengths
from voxadapt.backbones.transformer_layers import LayerNames, feed_forward, transformer_layer

Bias = Callable[[int, int], Tensor]


def attend_at_once(
    query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, bias: Bias
) -> Tensor:
    """As `voxadapt.backbones.attention.attend` with a bias, ``[N, H, T, d]``."""
    padding = padding_mask_from_lengths(lengths, key.shape[2])[:, None, None]  # [N, 1, 1, T]
    scores_bias = bias(0, query.shape[2]).masked_fill(padding, -torch.inf)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=scores_bias)


def graph_layer(
    layer: Any,
    names: LayerNames,
    hidden_states: Tensor,
    lengths: Tensor | None,
    *,
    heads: int,
    pre_norm: bool,
    bias: Callable[[Tensor], Bias] | None = None,
    frames: int | None = None,
) -> Tensor:
    """Run one layer; arguments and result as for `transformer_layer`.

    Layers without a bias go through `transformer_layer` itself. One with a bias needs ``lengths``
    and computes all frames.
    """
    if bias is None or lengths is None:
        return transformer_layer(
            layer, names, hidden_states, lengths, heads=heads, pre_norm=pre_norm, frames=frames
        )
    attention = getattr(layer, names.attention)
    attention_norm: nn.Module = getattr(layer, names.attention_norm)
    inputs = attention_norm(hidden_states) if pre_norm else hidden_states
    query, key, value = (
        split_heads(projection(inputs), heads)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    attended = join_heads(attend_at_once(query, key, value, lengths, bias(inputs)))
    hidden_states = hidden_states + attention.out_proj(attended)
    if not pre_norm:
        hidden_states = attention_norm(hidden_states)
    feed_forward_norm: nn.Module = getattr(layer, names.feed_forward_norm)
    inputs = feed_forward_norm(hidden_states) if pre_norm else hidden_states
    hidden_states = hidden_states + feed_forward(layer, names, inputs)
    return hidden_states if pre_norm else feed_forward_norm(hidden_states)
