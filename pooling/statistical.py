# SPDX-License-Identifier: Apache-2.0
"""Statistical attentive pooling (SAP): a weighted mean and the standard deviation around it."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from .padding import check_sizes, clear_padding, masked_softmax, weighted_average
from .projection import project_or_not


class StatisticalAttentivePooling(nn.Module):
    """Statistical attentive pooling of arXiv 2509.23795.

    A two-layer scorer weighs the frames, and the weighted mean and standard deviation of each
    feature are joined:

        α = softmax_t(vᵀ tanh(W h_t + b)),  μ = Σ α_t h_t,  σ = sqrt(Σ α_t (h_t - μ)² + eps)

    Our choices, as options: the scorer's width, and `eps`. Without `eps` a one-frame or constant
    clip stands at sqrt(0), where the gradient is infinite; with it such a clip has σ = sqrt(eps).
    The variance is taken around the mean, not as E[h²] - μ², which cancels in float32.

    Args:
        input_size: features of a frame, `D`; `[μ; σ]` has twice as many.
        attention_size: hidden units of the scorer, the rows of `W`.
        eps: added to the variance, in squared units of the frames.
        output_size: size of the vector that `[μ; σ]` is projected to; None leaves `[μ; σ]` itself,
            as the paper does.

    Raises:
        ValueError: a size is not a whole number of at least one, or `eps` is not positive.
    """

    def __init__(
        self,
        input_size: int,
        *,
        attention_size: int = 128,
        eps: float = 1e-6,
        output_size: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, attention_size=attention_size)
        if not eps > 0:
            raise ValueError(f"eps must be positive, for gradients at zero variance, got {eps!r}.")
        self.input_size = input_size
        self.output_size = output_size or 2 * input_size
        self.attention_size = attention_size
        self.eps = eps
        # No bias after tanh: softmax does not see a constant, so it would never get a gradient.
        self.scorer = nn.Sequential(
            nn.Linear(input_size, attention_size),
            nn.Tanh(),
            nn.Linear(attention_size, 1, bias=False),
        )
        self.projection = project_or_not(2 * input_size, output_size)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, ready for JSON."""
        return {
            "input_size": self.input_size,
            "attention_size": self.attention_size,
            "eps": self.eps,
            "output_size": self.output_size if isinstance(self.projection, nn.Linear) else None,
        }

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """Return the vector of `with_weights` alone, `[B, output_size]`."""
        return self.with_weights(frames, padding_mask)[0]

    def with_weights(self, frames: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool, and say how much each frame counted.

        Args:
            frames: `[B, T, D]` float.
            padding_mask: `[B, T]` bool, True = padding.

        Returns:
            The vectors `[B, output_size]`, that is `[μ; σ]` or its projection, and the weights α,
            `[B, 1, T]`, which sum to one over the real frames and are 0 on padding.

        Raises:
            ValueError: a wrong shape or dtype, or a clip with no real frame.
        """
        frames = clear_padding(frames, padding_mask, self.input_size)
        scores = rearrange(self.scorer(frames), "b t 1 -> b 1 t")
        weights = masked_softmax(scores, padding_mask)

        values = frames.to(weights.dtype)  # a half-precision mean would bias the variance
        mean = weighted_average(weights, values)  # [B, 1, D]
        variance = weighted_average(weights, (values - mean).square())
        statistics = torch.cat([mean, torch.sqrt(variance + self.eps)], dim=-1)
        vector = rearrange(statistics, "b 1 d -> b d").to(frames.dtype)
        return self.projection(vector), weights
