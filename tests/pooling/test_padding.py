# SPDX-License-Identifier: Apache-2.0
import torch

from voxadapt.pooling.padding import clear_padding, masked_softmax, weighted_average


def test_clear_padding_leaves_real_frames_and_its_input_as_they_are() -> None:
    frames = torch.randn(2, 3, 4)
    before = frames.clone()
    padding_mask = torch.tensor([[False, False, True], [False, True, True]])
    cleared = clear_padding(frames, padding_mask, 4)
    assert torch.equal(cleared[~padding_mask], frames[~padding_mask])
    assert (cleared[padding_mask] == 0).all()
    assert torch.equal(frames, before)


def test_masked_softmax_equals_softmax_of_the_real_scores() -> None:
    scores = 5 * torch.randn(2, 3, 6)
    padding_mask = torch.arange(6) >= torch.tensor([6, 2])[:, None]
    weights = masked_softmax(scores, padding_mask)
    torch.testing.assert_close(weights[0], scores[0].softmax(dim=-1))
    torch.testing.assert_close(weights[1, :, :2], scores[1, :, :2].softmax(dim=-1))
    assert (weights[1, :, 2:] == 0).all()


def test_masked_softmax_takes_large_scores() -> None:
    scores = torch.tensor([[[2e4, -2e4, 6e4]]], dtype=torch.float16)
    weights = masked_softmax(scores, torch.tensor([[False, False, True]]))
    assert weights.tolist() == [[[1.0, 0.0, 0.0]]]


def test_weighted_average_keeps_the_precision_of_the_weights() -> None:
    values = torch.ones(1, 1000, 2, dtype=torch.bfloat16)
    weights = torch.full((1, 1, 1000), 1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        average = weighted_average(weights, values)
    assert average.dtype == torch.bfloat16
    assert (average == 1).all()
