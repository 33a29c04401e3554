# SPDX-License-Identifier: Apache-2.0
"""A Transformer layer's arithmetic over the modules of a loaded Hugging Face layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend, join_heads, split_heads
from .dense import dense


@dataclass(frozen=True)
class LayerNames:
    """What a family calls the parts of a layer.

    Attributes:
        attention: Holds `q_proj`, `k_proj`, `v_proj` and `out_proj`.
        attention_norm: LayerNorm before (pre-norm) or after (post-norm) the attention.
        feed_forward: Holds the two linear layers; empty where the layer itself does.
        inner: The first of them.
        outer: The second of them.
        activation: Between the two.
        feed_forward_norm: LayerNorm before or after them.
    """

    attention: str
    attention_norm: str
    feed_forward: str
    inner: str
    outer: str
    activation: str
    feed_forward_norm: str


def transformer_layer(
    layer: Any,
    names: LayerNames,
    hidden_states: Tensor,
    lengths: Tensor | None,
    *,
    heads: int,
    pre_norm: bool,
    bias: Callable[[Tensor], Callable[[int, int], Tensor]] | None = None,
    frames: int | None = None,
) -> Tensor:
    """Run one layer, without dropout.

    Args:
        layer: The Hugging Face layer, whose modules are used and not its `forward`.
        names: What the modules are called.
        hidden_states: `[N, T, D]` float.
        lengths: Real frames of each clip `[N]`; None where all are.
        heads: Attention heads.
        pre_norm: Whether the LayerNorms come before attention and feed-forward, or after each.
        bias: From the attention's input `[N, T, D]` to the `bias` of `attend`.
        frames: How many of the first frames are wanted. The others are attended to and not
            computed further; None wants all. For pre-norm layers.

    Returns:
        `[N, T, D]`, or `[N, frames, D]`.
    """
    attention = getattr(layer, names.attention)
    attention_norm: nn.Module = getattr(layer, names.attention_norm)
    attention_input = attention_norm(hidden_states) if pre_norm else hidden_states
    wanted = attention_input if frames is None else attention_input[:, :frames]
    attended = attend(
        split_heads(dense(attention.q_proj, wanted), heads),
        split_heads(dense(attention.k_proj, attention_input), heads),
        split_heads(dense(attention.v_proj, attention_input), heads),
        lengths,
        None if bias is None else bias(attention_input),
    )
    residual = hidden_states if frames is None else hidden_states[:, :frames]
    hidden_states = residual + dense(attention.out_proj, join_heads(attended))
    if not pre_norm:
        hidden_states = attention_norm(hidden_states)
    feed_forward_norm: nn.Module = getattr(layer, names.feed_forward_norm)
    inputs = feed_forward_norm(hidden_states) if pre_norm else hidden_states
    hidden_states = hidden_states + feed_forward(layer, names, inputs)
    return hidden_states if pre_norm else feed_forward_norm(hidden_states)


def feed_forward(layer: Any, names: LayerNames, inputs: Tensor) -> Tensor:
    """Run a layer's two linear layers, with their activation, over `[N, T, D]`."""
    holder = getattr(layer, names.feed_forward) if names.feed_forward else layer
    activation = getattr(holder, names.activation)
    inner = getattr(holder, names.inner)
    if is_gelu(activation):
        hidden = dense(inner, inputs, "gelu")
    else:
        hidden = activation(dense(inner, inputs))
    return dense(getattr(holder, names.outer), hidden)


def is_gelu(activation: Any) -> bool:
    """Whether an activation of transformers is the exact GELU (they have several by that name)."""
    if activation is F.gelu:
        return True
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    # transformers' own class, which may also be told to spell out the formula in Python.
    return type(activation).__name__ == "GELUActivation"
