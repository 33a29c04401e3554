# SPDX-License-Identifier: Apache-2.0
"""Corpus-level standardisation of frozen frames."""

import torch
from torch import Tensor, nn

from .checks import check_frames, check_span_mask

CONSTANT_STD = 1e-5
"""A feature with a smaller standard deviation is constant."""


class FeatureStandardizer(nn.Module):
    """Give every feature zero mean and unit variance over a corpus.

    The statistics are buffers: they are fitted once on the corpus that the adapter is pretrained on
    (or, without a pretrained adapter, on the training part of the labelled corpus) and travel
    inside the saved model. They are global, not per clip, because the level of a clip is itself a
    cue for emotion. A new module passes frames through unchanged.

    Args:
        input_size: Features ``D`` of a frame.

    Raises:
        ValueError: ``input_size`` is below 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, input_size: int) -> None:
        super().__init__()
        if not input_size >= 1:
            raise ValueError(f"input_size: found {input_size}, must be 1 or more")
        self.input_size = input_size
        self.output_size = input_size
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("std", torch.ones(input_size))

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Store the corpus statistics.

        Args:
            mean: ``[D]`` mean of every feature.
            std: ``[D]`` standard deviation of every feature. A constant one (`CONSTANT_STD`) gets
                1, so that it becomes 0 instead of noise blown up.

        Raises:
            ValueError: The shapes are not ``[D]`` or a value is not finite.
        """
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != (self.input_size,) or not bool(torch.isfinite(value).all()):
                raise ValueError(
                    f"{name}: found shape {tuple(value.shape)}, finite: "
                    f"{bool(torch.isfinite(value).all())}; expected {self.input_size} finite "
                    "values, one for each feature"
                )
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std < CONSTANT_STD, torch.ones_like(std), std))

    def forward(
        self, frames: Tensor, padding_mask: Tensor, span_mask: Tensor | None = None
    ) -> Tensor:
        """Standardise frames; padding and hidden frames come out as zeros.

        Args:
            frames: ``[B, T, D]`` float.
            padding_mask: ``[B, T]`` bool, True = padding.
            span_mask: ``[B, T]`` bool, True = hidden; None hides nothing.

        Returns:
            ``[B, T, D]`` float.

        Raises:
            ValueError: The shapes or the mask's type do not fit.
        """
        check_frames(frames, padding_mask, self.input_size)
        standardized = (frames - self.mean) / self.std
        if span_mask is not None:
            check_span_mask(span_mask, padding_mask)
            standardized = standardized.masked_fill(span_mask.unsqueeze(-1), 0.0)
        return standardized.masked_fill(padding_mask.unsqueeze(-1), 0.0)
