# SPDX-License-Identifier: Apache-2.0
"""Multi-head attentive average pooling: several weighted means, projected to one vector."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from .padding import check_sizes, clear_padding, masked_softmax, weighted_average


class AttentiveAveragePooling(nn.Module):
    """Multi-head attentive average pooling of Shendabadi et al. 2026 (arXiv 2602.06000).

    A small network of each head's own weighs the frames, each head averages the whole frames by
    its weights, and the heads' means are concatenated and projected:

        α_h = softmax_t(v_hᵀ tanh(W_h h_t + b_h)),  m_h = Σ α_ht h_t,  out = P [m_1; …; m_H] + p

    Our choices, as options: the number of heads and the scorers' width; and that scorers have two
    layers with tanh between, as SAP's has.

    Args:
        input_size: features of a frame, `D`.
        heads: `H`, the number of weighted means.
        attention_size: hidden units of each head's scorer.
        output_size: size of the vector, 256 as in the paper.

    Raises:
        ValueError: a size is not a whole number of at least one.
    """

    def __init__(
        self,
        input_size: int,
        *,
        heads: int = 4,
        attention_size: int = 64,
        output_size: int = 256,
    ) -> None:
        super().__init__()
        check_sizes(
            input_size=input_size,
            heads=heads,
            attention_size=attention_size,
            output_size=output_size,
        )
        self.input_size = input_size
        self.output_size = output_size
        self.heads = heads
        self.attention_size = attention_size
        # No bias after tanh: softmax does not see a constant, so it would never get a gradient.
        self.scorers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(input_size, attention_size),
                nn.Tanh(),
                nn.Linear(attention_size, 1, bias=False),
            )
            for _ in range(heads)
        )
        self.projection = nn.Linear(heads * input_size, output_size)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, ready for JSON."""
        return {
            "input_size": self.input_size,
            "heads": self.heads,
            "attention_size": self.attention_size,
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
        scores = torch.cat([scorer(frames) for scorer in self.scorers], dim=-1)  # [B, T, H]
        weights = masked_softmax(rearrange(scores, "b t h -> b h t"), padding_mask)
        means = weighted_average(weights, frames)  # [B, H, D]
        return self.projection(rearrange(means, "b h d -> b (h d)")), weights
