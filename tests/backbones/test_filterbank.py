# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from voxadapt.backbones import (
    BackboneError,
    FilterbankBackbone,
    FilterbankConfig,
    backbone_from_config,
    pad_waveforms,
)


@pytest.fixture
def backbone():
    return FilterbankBackbone()


def test_spec(backbone):
    spec = backbone.spec
    assert (spec.feature_size, spec.frame_rate, spec.minimum_samples) == (160, 50.0, 560)
    assert (spec.layers, spec.parameters, spec.sample_rate) == (0, 0, 16_000)
    assert (spec.layer_outputs, spec.receptive_field) == (1, 560)
    assert (spec.normalization, spec.licence) == ("none", None)
    assert backbone.preferred_batch_seconds > 0
    assert list(backbone.parameters()) == []
    assert backbone.state_dict() == {}


@pytest.mark.parametrize(
    ("samples", "frames"),
    # The second frame needs the fourth window to end: 400 + 3 * 160 = 880 samples.
    [(1, 1), (399, 1), (560, 1), (879, 1), (880, 2), (1_199, 2), (1_200, 3), (16_000, 49)],
)
def test_frame_counts(backbone, noise, samples, frames):
    features, padding_mask = backbone(*pad_waveforms([noise(samples)]))
    assert features.shape == (1, frames, 160)
    assert not padding_mask.any()
    assert torch.isfinite(features).all()


def test_values_against_a_plain_loop(noise):
    import torchaudio

    clip = noise(1_000)
    backbone = FilterbankBackbone(FilterbankConfig(stack=1, num_mels=20))
    features, _ = backbone(*pad_waveforms([clip]))
    filters = torchaudio.functional.melscale_fbanks(257, 20.0, 7_600.0, 20, 16_000).double()
    for frame in range(features.shape[1]):
        window = clip[frame * 160 : frame * 160 + 400].double()
        window = (window - window.mean()) * torch.hann_window(400).double()
        power = torch.fft.rfft(window, n=512).abs() ** 2
        expected = torch.log(filters.T @ power + 1e-6)
        torch.testing.assert_close(features[0, frame].double(), expected, atol=1e-3, rtol=1e-4)


def test_stacked_frames_are_neighbouring_windows(noise):
    clip = noise(4_000)
    single, _ = FilterbankBackbone(FilterbankConfig(stack=1))(*pad_waveforms([clip]))
    double, _ = FilterbankBackbone()(*pad_waveforms([clip]))
    torch.testing.assert_close(double[0, 3], torch.cat([single[0, 6], single[0, 7]]))


def test_alone_and_in_a_batch_with_garbage_are_the_same(backbone, noise):
    clips = [noise(samples, seed) for seed, samples in enumerate([9_000, 5_001, 560, 100, 1])]
    waveforms, padding_mask = pad_waveforms(clips)
    garbage = waveforms.masked_fill(padding_mask, math.nan)
    garbage[1, -1], garbage[2, 600] = math.inf, 1e20
    frames, frame_padding_mask = backbone(garbage, padding_mask)
    for index, clip in enumerate(clips):
        alone, _ = backbone(*pad_waveforms([clip]))
        real = frames[index][~frame_padding_mask[index]]
        torch.testing.assert_close(real, alone[0], atol=1e-4, rtol=0)
    assert not frames[frame_padding_mask].any()


def test_a_longer_padding_adds_no_frames(backbone, noise):
    clip = noise(2_000)
    waveforms = torch.nn.functional.pad(clip, (0, 30_000))[None]
    padding_mask = torch.arange(32_000)[None] >= 2_000
    frames, _ = backbone(waveforms, padding_mask)
    assert frames.shape[1] == backbone(*pad_waveforms([clip]))[0].shape[1]


def test_the_level_is_kept_and_the_offset_is_not(backbone, noise):
    clip = noise(8_000)
    frames, _ = backbone(*pad_waveforms([clip]))
    louder, _ = backbone(*pad_waveforms([2 * clip]))
    shifted, _ = backbone(*pad_waveforms([clip + 0.3]))
    assert (louder - frames).median() == pytest.approx(math.log(4), abs=0.05)
    torch.testing.assert_close(shifted, frames, atol=0.01, rtol=0)


def test_stays_frozen_and_in_eval(backbone):
    nn.Sequential(backbone, nn.Dropout()).train()
    assert not backbone.training


def test_config_and_fingerprint(backbone):
    config = FilterbankConfig()
    again = backbone_from_config(backbone.config())
    assert again.config() == backbone.config()
    assert again.fingerprint() == backbone.fingerprint()
    assert len(backbone.fingerprint()) == 64
    # It has one precision only.
    assert backbone.cache_key() == backbone.fingerprint()
    for change in (
        {"num_mels": 40},
        {"window_seconds": 0.03},
        {"hop_seconds": 0.02},
        {"stack": 1},
        {"min_frequency": 50.0},
        {"max_frequency": 7_000.0},
        {"log_floor": 1e-5},
    ):
        other = FilterbankBackbone(replace(config, **change))
        assert other.fingerprint() != backbone.fingerprint(), change
        assert backbone_from_config(other.config()).fingerprint() == other.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"num_mels": 0},
        {"stack": 0},
        {"hop_seconds": 0.0},
        {"hop_seconds": 1e-5},
        {"window_seconds": 1e-5},
        {"log_floor": 0.0},
        {"max_frequency": 9_000.0},
        {"min_frequency": 8_000.0},
        {"num_mels": 400},
    ],
)
def test_impossible_configs(change):
    with pytest.raises(BackboneError):
        FilterbankBackbone(FilterbankConfig(**change))
