# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from voxadapt.backbones.convolutional_front_end import ConvolutionalFrontEnd, normalize_over_time


def test_statistics_are_over_real_frames_only():
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    hidden_states = 3 * torch.randn(3, 4, 50) + 2
    lengths = torch.tensor([50, 20, 2])
    expected = [norm(hidden_states[i : i + 1, :, :n])[0] for i, n in enumerate(lengths)]
    normalized = normalize_over_time(hidden_states, lengths, norm)
    for index, length in enumerate(lengths):
        torch.testing.assert_close(
            normalized[index, :, :length], expected[index], atol=1e-5, rtol=0
        )


def test_float16_is_summed_in_float32():
    norm = nn.GroupNorm(1, 1)
    hidden_states = torch.randn(1, 1, 100_000) * 30
    expected = norm(hidden_states)
    normalized = normalize_over_time(hidden_states.half(), torch.tensor([100_000]), norm)
    assert normalized.dtype == torch.float16
    torch.testing.assert_close(normalized.float(), expected, atol=1e-2, rtol=0)


@pytest.fixture
def front_end(tiny_ssl):
    model = tiny_ssl("wav2vec2-group")
    return ConvolutionalFrontEnd(
        model.feature_extractor.conv_layers,
        model.config.conv_kernel,
        model.config.conv_stride,
        normalized_over_time=True,
    )


def test_minimum_samples_is_where_the_first_frame_begins(front_end):
    minimum = front_end.minimum_samples
    assert front_end.frame_lengths(torch.tensor([minimum - 1, minimum])).tolist() == [0, 1]


@pytest.mark.parametrize("samples", [30, 31, 50, 777, 2_000])
def test_frame_lengths_are_what_comes_out(front_end, samples, noise):
    lengths = torch.tensor([samples])
    features = front_end(noise(samples)[None], lengths)
    assert features.shape == (1, int(front_end.frame_lengths(lengths)), 8)


def test_without_padding_it_is_the_feature_extractor(tiny_ssl, front_end, noise):
    waveforms = torch.stack([noise(2_000), noise(2_000, seed=1)])
    with torch.no_grad():
        expected = tiny_ssl("wav2vec2-group").feature_extractor(waveforms).transpose(1, 2)
        features = front_end(waveforms, torch.tensor([2_000, 2_000]))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
