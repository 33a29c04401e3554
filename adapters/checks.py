# SPDX-License-Identifier: Apache-2.0
"""The checks that the modules here make of their frames, masks and configs."""

import torch
from torch import Tensor


def check_frames(frames: Tensor, padding_mask: Tensor, input_size: int) -> None:
    """Raise unless frames are float ``[B, T, input_size]`` and the mask is bool ``[B, T]``.

    Args:
        frames: The frames to check.
        padding_mask: The mask to check, True = padding.
        input_size: The number of features that the module was built for.

    Raises:
        ValueError: Naming the argument, what was found and what is allowed.
    """
    if frames.dim() != 3 or frames.shape[-1] != input_size:
        raise ValueError(
            f"frames: found shape {tuple(frames.shape)}, expected [B, T, {input_size}]; "
            "build the module with the feature size of your backbone"
        )
    if frames.shape[1] == 0 or not frames.is_floating_point():
        raise ValueError(
            f"frames: found {frames.dtype} of shape {tuple(frames.shape)}, expected floats and at "
            "least one frame; a clip needs audio enough for one frame of the backbone"
        )
    if padding_mask.dtype != torch.bool:
        raise ValueError(
            f"padding_mask: found {padding_mask.dtype}, expected torch.bool with True = padding; "
            "a Hugging Face attention mask becomes one by `attention_mask == 0`"
        )
    if padding_mask.shape != frames.shape[:2]:
        raise ValueError(
            f"padding_mask: found shape {tuple(padding_mask.shape)}, "
            f"expected {tuple(frames.shape[:2])} as in frames"
        )


def check_span_mask(span_mask: Tensor, padding_mask: Tensor) -> None:
    """Raise unless ``span_mask`` is bool and as large as ``padding_mask``.

    Args:
        span_mask: The mask to check, True = hidden.
        padding_mask: ``[B, T]`` bool, already checked.

    Raises:
        ValueError: Naming the argument, what was found and what is allowed.
    """
    if span_mask.dtype != torch.bool or span_mask.shape != padding_mask.shape:
        raise ValueError(
            f"span_mask: found {span_mask.dtype} of shape {tuple(span_mask.shape)}, expected "
            f"torch.bool of shape {tuple(padding_mask.shape)} as padding_mask, True = hidden"
        )


def check_sizes(**sizes: object) -> None:
    """Raise unless all sizes are whole numbers of at least 1.

    Args:
        **sizes: The sizes by the names of their config fields.

    Raises:
        ValueError: Naming the field, what was found and what is allowed.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}: found {size!r}, must be a whole number, 1 or more")


def check_dropout(dropout: float) -> None:
    """Raise unless a dropout is at least 0 and below 1.

    Raises:
        ValueError: It is not.
    """
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: found {dropout}, must be at least 0 and below 1")
