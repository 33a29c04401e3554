# SPDX-License-Identifier: Apache-2.0
"""Multi-head QKV pooling: the clip's mean asks, its frames answer."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from .padding import check_sizes, clear_padding, masked_softmax, weighted_average


class QKVPooling(nn.Module):
    """Multi-head QKV attention pooling of Shendabadi et al. 2026 (arXiv 2602.06000).

    One query a clip, from the mean over its real frames, attends to keys and values from the
    frames; the heads are concatenated and projected:

        q = W_q mean_t(h_t) + b_q,  k_t = W_k h_t,  v_t = W_v h_t + b_v
        α_h = softmax_t(q_h · k_ht / sqrt(head_size)),  out = P [Σ α_1t v_1t; …; Σ α_Ht v_Ht] + p

    Our choices, as options: the number of heads, and their size, by default the 64 of Whisper's
    own heads whatever the frames' size.

    Args:
        input_size: features of a frame, `D`.
        heads: `H`, the number of attention heads.
        head_size: features of a head's query, keys and values.
        output_size: size of the vector, 256 as in the paper.

    Raises:
        ValueError: a size is not a whole number of at least one.
    """

    def __init__(
        self,
        input_size: int,
        *,
        heads: int = 4,
        head_size: int = 64,
        output_size: int = 256,
    ) -> None:
        super().__init__()
        check_sizes(
            input_size=input_size, heads=heads, head_size=head_size, output_size=output_size
        )
        self.input_size = input_size
        self.output_size = output_size
        self.heads = heads
        self.head_size = head_size
        self.query = nn.Linear(input_size, heads * head_size)
        # No bias: q · b_k is the same for all frames, and softmax does not see a constant.
        self.key = nn.Linear(input_size, heads * head_size, bias=False)
        self.value = nn.Linear(input_size, heads * head_size)
        self.projection = nn.Linear(heads * head_size, output_size)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, ready for JSON."""
        return {
            "input_size": self.input_size,
            "heads": self.heads,
            "head_size": self.head_size,
            "output_size": self.output_size,
        }

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """Return the vector of `with_weights` alone, `[B, output_size]`."""
        return self.with_weights(frames, padding_mask)[0]

    def with_weights(self, frames: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool, and say how much each frame counted in each head.

        Args:
            frames: `[B, T, D]` float.
            padding_mask: `[B, T]` bool, True = padding.

        Returns:
            The vectors `[B, output_size]` and the weights `[B, H, T]`, which sum to one over the
            real frames and are 0 on padding.

        Raises:
            ValueError: a wrong shape or dtype, or a clip with no real frame.
        """
        frames = clear_padding(frames, padding_mask, self.input_size)
        # In float16 the sum over a long clip would overflow.
        summed = (frames.float() if frames.dtype == torch.float16 else frames).sum(dim=1)
        mean = (summed / (~padding_mask).sum(dim=1, keepdim=True)).to(frames.dtype)  # [B, D]
        query = rearrange(self.query(mean), "b (h d) -> b h d 1", h=self.heads)
        key = rearrange(self.key(frames), "b t (h d) -> b h t d", h=self.heads)
        value = rearrange(self.value(frames), "b t (h d) -> b h t d", h=self.heads)

        scores = rearrange(key @ query, "b h t 1 -> b h t") * self.head_size**-0.5
        weights = masked_softmax(scores, padding_mask)
        heads = weighted_average(rearrange(weights, "b h t -> b h 1 t"), value)  # [B, H, 1, d]
        return self.projection(rearrange(heads, "b h 1 d -> b (h d)")), weights
