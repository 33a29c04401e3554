# SPDX-License-Identifier: Apache-2.0
"""Mean pooling, the baseline of every other pooler."""

from typing import Any

from einops import rearrange
from torch import Tensor, nn

from .padding import check_sizes, clear_padding, masked_softmax, weighted_average
from .projection import project_or_not


class MeanPooling(nn.Module):
    """The mean of a clip's real frames; nothing to train, unless it is projected.

    Args:
        input_size: features of a frame, `D`.
        output_size: size of the vector that the mean is projected to; None leaves the mean itself.

    Raises:
        ValueError: a size is not a whole number of at least one.
    """

    def __init__(self, input_size: int, *, output_size: int | None = None) -> None:
        super().__init__()
        check_sizes(input_size=input_size)
        self.input_size = input_size
        self.projection = project_or_not(input_size, output_size)
        self.output_size = output_size or input_size

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, ready for JSON."""
        projected = isinstance(self.projection, nn.Linear)
        return {
            "input_size": self.input_size,
            "output_size": self.output_size if projected else None,
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
            The vectors `[B, output_size]` and the weights `[B, 1, T]`: one over the number of real
            frames, and 0 on padding.

        Raises:
            ValueError: a wrong shape or dtype, or a clip with no real frame.
        """
        frames = clear_padding(frames, padding_mask, self.input_size)
        equal_scores = rearrange(frames.new_zeros(frames.shape[:2]), "b t -> b 1 t")
        weights = masked_softmax(equal_scores, padding_mask)
        mean = rearrange(weighted_average(weights, frames), "b 1 d -> b d")
        return self.projection(mean), weights
