# SPDX-License-Identifier: Apache-2.0
"""Self-attention over padded clips, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .base import padding_mask_from_lengths

# Elements of a bias `[N, H, queries, T]` that are held at a time (64 MB in float32).
_BIAS_ELEMENTS = 1 << 24
# Keys up to which bfloat16 on a CPU is twice as fast in plain matrix products (at 125 keys).
_FEW_KEYS = 256


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Tensor | None = None,
    bias: Callable[[int, int], Tensor] | None = None,
) -> Tensor:
    """Attend with scaled dot products.

    Args:
        query: `[N, H, T', d]` float.
        key: `[N, H, T, d]`.
        value: `[N, H, T, d]`.
        lengths: Real keys of each clip `[N]`, at least 1; None where all `T` are.
        bias: Gives what is added to the scores of the queries from one number up to another,
            `[N or 1, H, queries, T]`. Queries are taken in blocks, so that a long clip needs
            memory that grows with its length and not with the square of it.

    Returns:
        `[N, H, T', d]`.
    """
    real = None
    if lengths is not None:
        real = ~padding_mask_from_lengths(lengths, key.shape[2])[:, None, None]  # [N, 1, 1, T]
    if bias is None and _in_matrix_products(query, key):
        return _attend_in_matrix_products(query, key, value, real)
    if bias is None:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=real)
    clips, heads, queries, _ = query.shape
    block = max(1, _BIAS_ELEMENTS // (clips * heads * key.shape[2]))
    parts = []
    for start in range(0, queries, block):
        stop = min(start + block, queries)
        scores_bias = bias(start, stop)
        if real is not None:
            scores_bias = scores_bias.masked_fill(~real, -torch.inf)
        scores_bias = scores_bias.to(query.dtype)
        parts.append(
            F.scaled_dot_product_attention(
                query[:, :, start:stop], key, value, attn_mask=scores_bias
            )
        )
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _in_matrix_products(query: Tensor, key: Tensor) -> bool:
    """Whether two batched matrix products beat torch's fused kernel, which is so for few keys."""
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and key.shape[2] <= _FEW_KEYS
        and not torch.is_grad_enabled()
    )


def _attend_in_matrix_products(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None
) -> Tensor:
    scores = torch.matmul(query, key.transpose(-1, -2)).float()  # [N, H, T', T]
    scores = scores.mul_(query.shape[-1] ** -0.5)
    if real is not None:
        scores = scores.masked_fill_(~real, -torch.inf)
    return torch.matmul(scores.softmax(dim=-1).to(value.dtype), value)


def lengths_if_padded(lengths: Tensor, frames: int) -> Tensor | None:
    """Return the lengths `[N]`, or None where every clip fills all `frames`: no mask is needed."""
    return lengths if bool((lengths < frames).any()) else None


def split_heads(hidden_states: Tensor, heads: int) -> Tensor:
    """Turn `[N, T, H * d]` into `[N, H, T, d]`."""
    return rearrange(hidden_states, "n t (h d) -> n h t d", h=heads)


def join_heads(hidden_states: Tensor) -> Tensor:
    """Turn `[N, H, T, d]` into `[N, T, H * d]`."""
    return rearrange(hidden_states, "n h t d -> n t (h d)")
