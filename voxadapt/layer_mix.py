# SPDX-License-Identifier: Apache-2.0
"""A learnt sum over the layers of an encoder, whose outputs stand side by side in a frame."""

from typing import Any

from einops import rearrange
from torch import Tensor, nn

from .adapters import FeatureStandardizer
from .pooling import LayerWeightedSum


class LayerMix(nn.Module):
    """Standardise each layer's features, then sum the layers by weights that are trained.

    Layers of an encoder differ in scale by orders of magnitude. Without a scale of its own, each
    layer's share would be its weight times its scale, and the weights would tell little.

    Args:
        layers: Layers ``L`` in a frame.
        size: Features ``D`` of each.

    Raises:
        ValueError: A number is below 1.
    """

    def __init__(self, layers: int, size: int) -> None:
        super().__init__()
        self.weighted_sum = LayerWeightedSum(layers)
        self.standardize = FeatureStandardizer(layers * size)
        self.input_size = layers * size
        self.output_size = size

    @property
    def weights(self) -> Tensor:
        """The layers' weights ``[L]``, which sum to one; all the same before training."""
        return self.weighted_sum.weights

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, ready for JSON."""
        return {"layers": self.weighted_sum.layers, "size": self.output_size}

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """Sum the layers.

        Args:
            frames: ``[B, T, L * D]`` float, as a backbone with ``layer="weighted"`` gives them.
            padding_mask: ``[B, T]`` bool, True = padding.

        Returns:
            ``[B, T, D]`` float, zero on padding.

        Raises:
            ValueError: The shapes or the mask's type do not fit.
        """
        standardized = self.standardize(frames, padding_mask)
        stacked = rearrange(standardized, "b t (l d) -> b l t d", l=self.weighted_sum.layers)
        return self.weighted_sum(stacked, padding_mask)
