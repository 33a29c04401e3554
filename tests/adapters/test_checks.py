# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.adapters.checks import check_dropout, check_frames, check_sizes, check_span_mask

FRAMES = torch.zeros(2, 3, 4)
MASK = torch.zeros(2, 3, dtype=torch.bool)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_good_frames_pass(dtype: torch.dtype) -> None:
    check_frames(FRAMES.to(dtype), MASK, 4)
    check_frames(FRAMES[:, :1], MASK[:, :1], 4)


@pytest.mark.parametrize(
    ("frames", "padding_mask", "message"),
    [
        (FRAMES[0], MASK, r"frames: found shape \(3, 4\), expected \[B, T, 4\]"),
        (torch.zeros(2, 3, 5), MASK, r"frames: found shape \(2, 3, 5\)"),
        (FRAMES[:, :0], MASK[:, :0], "at least one frame"),
        (FRAMES.long(), MASK, "frames: found torch.int64"),
        (FRAMES, MASK.long(), "padding_mask: found torch.int64, expected torch.bool"),
        (FRAMES, MASK[:, :2], r"padding_mask: found shape \(2, 2\), expected \(2, 3\)"),
        (FRAMES, MASK[:1], r"padding_mask: found shape \(1, 3\), expected \(2, 3\)"),
    ],
)
def test_bad_frames_are_refused(
    frames: torch.Tensor, padding_mask: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_frames(frames, padding_mask, 4)


def test_span_mask() -> None:
    check_span_mask(MASK, MASK)
    # Shapes that would broadcast are refused as well.
    for span_mask in (MASK.float(), MASK.to(torch.uint8), MASK[:1], MASK[0]):
        with pytest.raises(ValueError, match="span_mask: found"):
            check_span_mask(span_mask, MASK)


def test_sizes_and_dropout() -> None:
    check_sizes(width=1, layers=3)
    check_dropout(0.0)
    for size in (0, -1, 2.0, True, "3", None):
        with pytest.raises(ValueError, match=r"layers: found .*, must be a whole number, 1 or"):
            check_sizes(width=1, layers=size)
    for dropout in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"dropout: found .*, must be at least 0 and below 1"):
            check_dropout(dropout)
