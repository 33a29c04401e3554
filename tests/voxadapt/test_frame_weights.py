# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.frame_weights import FrameWeights


def test_times_are_the_middle_of_each_frame() -> None:
    found = FrameWeights(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]), frame_rate=50.0)
    assert found.frame_seconds == pytest.approx(0.02)
    assert found.times.tolist() == pytest.approx([0.01, 0.03, 0.05])
    assert found.times.dtype == torch.float32
    assert found.average.tolist() == pytest.approx([0.3, 0.175, 0.525])


def test_an_hour_in_the_times_are_still_exact() -> None:
    found = FrameWeights(torch.zeros(1, 180_000), frame_rate=50.0)
    assert found.times[-1].item() == pytest.approx(3_599.99, abs=1e-3)
