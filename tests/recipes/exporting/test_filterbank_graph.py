# SPDX-License-Identifier: Apache-2.0
"""The filterbank as a graph."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from voxadapt.backbones import FilterbankBackbone, FilterbankConfig, pad_waveforms
from voxadapt.recipes.exporting.filterbank_graph import FilterbankGraph, pad_to


@pytest.mark.parametrize(
    "config",
    [
        FilterbankConfig(),
        FilterbankConfig(num_mels=40, window_seconds=0.032, hop_seconds=0.0125, stack=3),
    ],
)
def test_frames_and_their_number_are_the_backbones(
    config: FilterbankConfig, clips: list[Tensor]
) -> None:
    backbone = FilterbankBackbone(config)
    waveforms, padding_mask = pad_waveforms(clips)
    expected, frame_mask = backbone(waveforms, padding_mask)
    frames, lengths = FilterbankGraph(backbone)(waveforms, (~padding_mask).sum(dim=1))
    assert lengths.tolist() == (~frame_mask).sum(dim=1).tolist()
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            frames[row, :length], expected[row, :length], atol=2e-4, rtol=2e-4
        )


def test_a_whole_classifier_on_it_is_exact_in_a_batch(
    tiny_classifier: Callable[..., Any], assert_exact: Callable[[Any], None]
) -> None:
    assert_exact(tiny_classifier("fbank"))


def test_only_what_is_too_short_is_padded() -> None:
    assert pad_to(torch.ones(2, 3), 5).tolist() == [[1, 1, 1, 0, 0]] * 2
    assert pad_to(torch.ones(2, 6), 5).shape == (2, 6)
