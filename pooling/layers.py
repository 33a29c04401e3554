# SPDX-License-Identifier: Apache-2.0
"""A learned weighted sum over an encoder's layers."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from .padding import check_padding_mask, check_sizes, weighted_average


class LayerWeightedSum(nn.Module):
    """Mix an encoder's layers into one sequence of frames, by softmax weights that are trained.

    The weights start uniform, so that an untrained mix is the mean of the layers. This is the
    usual way to read out a frozen speech encoder (SUPERB, arXiv 2105.01051).

    Args:
        layers: `L`, the number of layers that come in.

    Raises:
        ValueError: `layers` is not a whole number of at least one.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        check_sizes(layers=layers)
        self.layers = layers
        self.scores = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """The layers' weights, `[L]`, which sum to one."""
        return self.scores.softmax(
            dim=0, dtype=torch.promote_types(self.scores.dtype, torch.float32)
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, ready for JSON."""
        return {"layers": self.layers}

    def forward(self, hidden_states: Tensor, padding_mask: Tensor) -> Tensor:
        """Sum the layers.

        Args:
            hidden_states: `[B, L, T, D]` float.
            padding_mask: `[B, T]` bool, True = padding. Padding leaves as zeros, because NaN in it
                would reach the gradient of the weights.

        Returns:
            `[B, T, D]`, in the dtype of `hidden_states`.

        Raises:
            ValueError: a wrong shape or dtype, or a clip with no real frame.
        """
        shape = list(hidden_states.shape)
        if len(shape) != 4 or shape[1] != self.layers or not hidden_states.is_floating_point():
            raise ValueError(
                f"hidden_states must be a float tensor [B, {self.layers}, T, D], got "
                f"{hidden_states.dtype} {shape}; stack the layers on dim 1, all {self.layers}."
            )
        check_padding_mask(padding_mask, shape[0], shape[2])
        hidden_states = hidden_states.masked_fill(rearrange(padding_mask, "b t -> b 1 t 1"), 0.0)
        stacked = rearrange(hidden_states, "b l t d -> b l (t d)")
        mixed = weighted_average(rearrange(self.weights, "l -> 1 l"), stacked)
        return rearrange(mixed, "b 1 (t d) -> b t d", t=shape[2])
