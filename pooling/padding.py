# SPDX-License-Identifier: Apache-2.0
"""What keeps padding out of a pooled vector: the input check, masked softmax and averaging."""

import torch
from einops import rearrange
from torch import Tensor


def clear_padding(frames: Tensor, padding_mask: Tensor, input_size: int) -> Tensor:
    """Check a pooler's input and set its padding to zero.

    A weight of zero is not enough to silence padding: 0 × NaN is NaN, in the sum and again in the
    gradient. So padding is overwritten before anything is computed from it.

    Args:
        frames: `[B, T, D]` float.
        padding_mask: `[B, T]` bool, True = padding.
        input_size: the `D` that the pooler was built for.

    Returns:
        `[B, T, D]`: the frames, zero where padded.

    Raises:
        ValueError: a wrong shape or dtype, or a clip with no real frame.
    """
    if frames.ndim != 3 or frames.shape[-1] != input_size or not frames.is_floating_point():
        raise ValueError(
            f"frames must be a float tensor [B, T, {input_size}], got {frames.dtype} "
            f"{list(frames.shape)}; build the pooler with the input_size of its frames."
        )
    check_padding_mask(padding_mask, frames.shape[0], frames.shape[1])
    return frames.masked_fill(rearrange(padding_mask, "b t -> b t 1"), 0.0)


def check_padding_mask(padding_mask: Tensor, batch: int, frames: int) -> None:
    """Check that `padding_mask` is `[B, T]` bool and leaves every clip a real frame.

    Args:
        padding_mask: `[B, T]` bool, True = padding.
        batch: `B`, in clips.
        frames: `T`, in frames.

    Raises:
        ValueError: it is not, or it does not.
    """
    dtype = getattr(padding_mask, "dtype", type(padding_mask).__name__)
    if dtype != torch.bool:
        raise ValueError(
            f"padding_mask must be a bool tensor, True = padding, got {dtype}; from lengths, use "
            "torch.arange(T) >= lengths[:, None]; from an attention mask, attention_mask == 0."
        )
    if padding_mask.shape != (batch, frames):
        raise ValueError(
            f"padding_mask must be [B, T] = {[batch, frames]} as the frames are, got "
            f"{list(padding_mask.shape)}; give one entry a frame."
        )
    # A compiled or exported graph cannot raise on values; there such a clip gives NaN.
    if not torch.compiler.is_compiling() and padding_mask.all(dim=1).any():
        empty = padding_mask.all(dim=1).nonzero().flatten().tolist()
        raise ValueError(
            f"padding_mask must leave every clip at least one real frame, got only padding in "
            f"clips {empty} of the batch; drop them, and check that True means padding."
        )


def masked_softmax(scores: Tensor, padding_mask: Tensor) -> Tensor:
    """Softmax over the real frames, in float32 at least.

    Args:
        scores: `[B, H, T]` float, finite.
        padding_mask: `[B, T]` bool, True = padding.

    Returns:
        `[B, H, T]`: sums to one over T, exactly 0 where padded.
    """
    scores = scores.masked_fill(rearrange(padding_mask, "b t -> b 1 t"), float("-inf"))
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def weighted_average(weights: Tensor, values: Tensor) -> Tensor:
    """Average values by weights, `weights @ values`, in the weights' precision.

    Autocast is off inside: rounding the weights to bfloat16 would leave sums that are not one.

    Args:
        weights: `[..., N, T]` float, which sum to one over T.
        values: `[..., T, D]` float.

    Returns:
        `[..., N, D]`, in the dtype of `values`.
    """
    with torch.autocast(values.device.type, enabled=False):
        return (weights @ values.to(weights.dtype)).to(values.dtype)


def check_sizes(**sizes: int) -> None:
    """Check that constructor arguments are whole numbers of at least one.

    Raises:
        ValueError: one is not; the message names it.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}.")
