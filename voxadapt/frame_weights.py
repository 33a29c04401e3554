# SPDX-License-Identifier: Apache-2.0
"""Where in a clip the pooler listened."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameWeights:
    """How much each frame of a clip counted for its pooled vector, by head.

    Attributes:
        weights: ``[H, T]`` float32; those of a head add up to 1.
        frame_rate: Frames per second (Hz).

    Example:
        >>> FrameWeights(torch.tensor([[0.25, 0.75]]), frame_rate=50.0).times
        tensor([0.0100, 0.0300])
    """

    weights: Tensor
    frame_rate: float

    @property
    def frame_seconds(self) -> float:
        """What a frame stands for (seconds)."""
        return 1 / self.frame_rate

    @property
    def times(self) -> Tensor:
        """The middle of each frame ``[T]`` float32, in seconds from the beginning of the clip."""
        frames = torch.arange(self.weights.shape[-1], dtype=torch.float64)
        return ((frames + 0.5) / self.frame_rate).float()

    @property
    def average(self) -> Tensor:
        """The mean over heads ``[T]``, which adds up to 1."""
        return self.weights.mean(dim=0)
