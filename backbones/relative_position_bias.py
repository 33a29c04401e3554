# SPDX-License-Identifier: Apache-2.0
"""WavLM's gated relative position bias, without a tensor as large as the square of a clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .attention import split_heads


def relative_biases(attention: Any, frames: int) -> Tensor:
    """Read the bias of every distance from the first layer's embedding.

    Args:
        attention: A `WavLMAttention` with `rel_attn_embed`, as the first layer has it.
        frames: `T`.

    Returns:
        `[H, 2 T - 1]`, for key minus query from `-(T - 1)` to `T - 1`.
    """
    embedding = attention.rel_attn_embed
    distances = torch.arange(-(frames - 1), frames, device=embedding.weight.device)
    buckets = attention._relative_positions_bucket(distances)
    biases: Tensor = embedding(buckets).T
    return biases


def gated_bias(
    attention: Any, attention_input: Tensor, biases: Tensor
) -> Callable[[int, int], Tensor]:
    """Gate the biases by what each query holds (WavLM, arXiv 2110.13900, section III-A).

    Args:
        attention: The layer's `WavLMAttention`.
        attention_input: `[N, T, D]` float.
        biases: From `relative_biases`.

    Returns:
        The `bias` of `attend`.
    """
    heads, frames = biases.shape[0], attention_input.shape[1]
    states = split_heads(attention_input, heads)  # [N, H, T, d]
    gates = attention.gru_rel_pos_linear(states).unflatten(-1, (2, 4)).sum(dim=-1)
    gate_a, gate_b = torch.sigmoid(gates).chunk(2, dim=-1)  # each [N, H, T, 1]
    gate = gate_a * (gate_b * attention.gru_rel_pos_const - 1.0) + 2.0
    keys = torch.arange(frames, device=biases.device)

    def bias(start: int, stop: int) -> Tensor:
        queries = torch.arange(start, stop, device=biases.device)
        distances = keys[None, :] - queries[:, None] + frames - 1  # [queries, T]
        return gate[:, :, start:stop] * biases[:, distances]  # [N, H, queries, T]

    return bias
