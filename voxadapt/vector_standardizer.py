# SPDX-License-Identifier: Apache-2.0
"""Pooled vectors on one scale, so that a linear layer learns from all of their features alike."""

import torch
from torch import Tensor, nn

# Of the median standard deviation: features that hardly differ between clips are not blown up
# beyond it, and with them the rounding that padding and batches leave.
LEAST_STD_SHARE = 0.1


class VectorStandardizer(nn.Module):
    """Give every feature of a pooled vector zero mean and unit variance over the training part.

    Means and standard deviations of frames, side by side in one vector, differ in how much they
    vary from clip to clip, and AdamW gives the weights of all of them steps of one size. Batch
    normalisation, which speaker recognition has in this place (ECAPA-TDNN, arXiv 2005.07143), would
    make a clip's vector depend on its batch; these statistics are measured once, before the first
    step, and stay. `fold_into` makes them part of the linear layer afterwards.

    Args:
        size: Features ``D`` of a vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    @torch.no_grad()
    def fit(self, vectors: Tensor, *, common_scale: bool = False) -> None:
        """Measure the statistics.

        A feature whose standard deviation is below a tenth of the features' median counts as having
        that; where the median is 0, as of a single vector, nothing is divided.

        Args:
            vectors: ``[N, D]`` float, at least one.
            common_scale: Divide all features by one number, the root mean square of their standard
                deviations, so that those that vary more go on counting for more.

        Raises:
            ValueError: The shape does not fit, or a value is not finite.
        """
        if vectors.dim() != 2 or vectors.shape[1] != len(self.mean) or not len(vectors):
            raise ValueError(
                f"vectors: found shape {list(vectors.shape)}, must be [N, {len(self.mean)}] with N "
                "of 1 or more"
            )
        if not bool(torch.isfinite(vectors).all()):
            raise ValueError("vectors: found values that are not finite; check the frames")
        std, mean = torch.std_mean(vectors.double(), dim=0, correction=0)
        if common_scale:
            std = std.square().mean().sqrt().expand_as(std)
        least = LEAST_STD_SHARE * std.median()
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=least) if least > 0 else torch.ones_like(std))

    def forward(self, vectors: Tensor) -> Tensor:
        """Standardise ``[B, D]``."""
        return (vectors - self.mean) / self.std

    @torch.no_grad()
    def fold_into(self, linear: nn.Linear) -> None:
        """Change a linear layer to give without this module what it gave behind it."""
        weight = linear.weight.cpu().double() / self.std.cpu().double()
        linear.bias.copy_(linear.bias.cpu().double() - weight @ self.mean.cpu().double())
        linear.weight.copy_(weight)
