# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.pooling import MeanPooling


def test_equals_the_mean_of_each_clip() -> None:
    frames = torch.randn(3, 8, 5)
    lengths = [8, 3, 1]
    padding_mask = torch.arange(8) >= torch.tensor(lengths)[:, None]
    vector, weights = MeanPooling(5).with_weights(frames, padding_mask)
    for clip, length in enumerate(lengths):
        torch.testing.assert_close(vector[clip], frames[clip, :length].mean(dim=0))
        torch.testing.assert_close(weights[clip, 0, :length], torch.full((length,), 1 / length))


def test_autocast_changes_nothing() -> None:
    frames = torch.randn(2, 300, 5)
    padding_mask = torch.arange(300) >= torch.tensor([300, 7])[:, None]
    pooler = MeanPooling(5)
    full = pooler(frames, padding_mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pooler(frames, padding_mask), full)


def test_has_nothing_to_train() -> None:
    assert not list(MeanPooling(5).parameters())


def test_refuses_a_size_of_zero() -> None:
    with pytest.raises(ValueError, match="input_size must be a whole number of at least 1, got 0"):
        MeanPooling(0)
