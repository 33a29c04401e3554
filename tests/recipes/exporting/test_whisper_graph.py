# SPDX-License-Identifier: Apache-2.0
"""Whisper as a graph: the longest clip is cut in windows, the others are not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from voxadapt.backbones import pad_waveforms
from voxadapt.recipes.exporting.whisper_graph import LogMelGraph, WhisperGraph

Make = Callable[..., Any]


@pytest.mark.parametrize("context", ["window", "clip"])
@pytest.mark.parametrize("layer", ["last", 2, "mean", "weighted"])
def test_it_is_exact_in_a_batch(
    context: str, layer: int | str, tiny_classifier: Make, assert_exact: Callable[..., None]
) -> None:
    model = tiny_classifier("whisper", whisper_context=context, layer=layer)
    # Windows are 16,000 samples.
    assert_exact(model, (50, 700, 16_123, 9_000, 37_000))


@pytest.mark.parametrize("context", ["window", "clip"])
@torch.no_grad()
def test_every_frame_is_the_encoders_at_the_edges_of_windows(
    context: str, tiny_backbone: Make
) -> None:
    encoder = tiny_backbone("whisper", whisper_context=context).encoder
    generator = torch.Generator().manual_seed(0)
    # A window is 16,000 samples: one frame less, as many, one more, and two windows and more.
    sizes = (15_680, 16_000, 16_320, 32_000, 40_111)
    clips = [0.1 * torch.randn(size, generator=generator) for size in sizes]
    waveforms, padding_mask = pad_waveforms(clips)
    found, lengths = WhisperGraph(encoder)(waveforms, (~padding_mask).sum(dim=1))
    for row, clip in enumerate(clips):
        expected, count = encoder(clip[None], torch.tensor([len(clip)]))
        assert lengths[row] == count
        torch.testing.assert_close(found[row, : int(count)], expected[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("padded", [False, True])
def test_the_spectrogram_is_whispers(padded: bool, tiny_backbone: Make) -> None:
    log_mel = tiny_backbone("whisper").encoder.log_mel
    generator = torch.Generator().manual_seed(0)
    waveforms: Tensor = 0.1 * torch.randn(2, 16_000, generator=generator)
    lengths = torch.tensor([100, 40 if padded else 100])
    # Silence in the clip is clamped to below its loudest point; what follows it is louder, and is
    # not to count.
    waveforms[:, 1_000:3_000] = 0.0
    waveforms[1, int(lengths[1]) * 160 + 400 :] *= 100.0
    found = LogMelGraph(log_mel)(waveforms, lengths if padded else None)
    torch.testing.assert_close(found, log_mel(waveforms, lengths), atol=2e-5, rtol=0)
