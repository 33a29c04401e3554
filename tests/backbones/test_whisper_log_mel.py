# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from voxadapt.backbones.whisper_log_mel import WhisperLogMel

WINDOW = 480_000
# The window's last frame sees what is reflected at its end from 40 samples before it.
SAMPLES = [1, 160, 16_000, 479_799, 479_801, 479_961, 479_999, WINDOW, 480_160, 720_000]


def same(actual, expected):
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("padded", [True, False])
def test_it_equals_whisper_feature_extractor(num_mels, samples, padded, noise):
    from transformers import WhisperFeatureExtractor

    clip = noise(samples)
    extractor = WhisperFeatureExtractor(feature_size=num_mels)
    # It cuts off what is beyond 30 s.
    expected = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    window = F.pad(clip, (0, max(0, WINDOW - samples)))[:WINDOW] if padded else clip
    same(WhisperLogMel(num_mels)(window[None], torch.tensor([3_000]), 3_000), expected)


@pytest.mark.parametrize("cut", range(0, 500, 7))
def test_silence_that_follows_is_known_without_computing_it(cut, noise):
    log_mel, clip = WhisperLogMel(80), noise(3_200)
    clip[3_200 - cut :] = 0.0
    expected = log_mel(clip[None], torch.tensor([20]), 20)
    same(log_mel(clip[None, : 3_200 - cut], torch.tensor([20]), 20), expected)


def test_each_clip_of_a_batch_has_its_own_maximum(noise):
    log_mel = WhisperLogMel(80)
    waveforms = torch.stack([noise(16_000), 1e-3 * noise(16_000, seed=1)])
    together = log_mel(waveforms, torch.tensor([100, 100]))
    for index in range(2):
        alone = log_mel(waveforms[index : index + 1], torch.tensor([100]))[0]
        torch.testing.assert_close(together[index], alone, atol=1e-5, rtol=0)


def test_beyond_a_clip_it_is_zero_and_does_not_count(noise):
    log_mel = WhisperLogMel(80)
    waveform = noise(16_000)[None] * 1e-3
    louder_later = waveform.clone()
    louder_later[:, 12_000:] *= 1e4
    mels = log_mel(louder_later, torch.tensor([50]))
    assert not mels[..., 50:].any()
    expected = log_mel(waveform, torch.tensor([50]))
    torch.testing.assert_close(mels, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_around_it_costs_no_digits(dtype):
    """A window rounded to bfloat16 leaks a tone into every Mel, up to 0.2 of them."""
    tone = 0.3 * torch.sin(torch.arange(16_000) * 0.4)[None]
    log_mel = WhisperLogMel(80)
    expected = log_mel(tone, torch.tensor([100]))
    assert torch.equal(log_mel.to(dtype)(tone, torch.tensor([100])), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(log_mel(tone, torch.tensor([100])), expected)


def test_it_is_computed_where_the_waveforms_are():
    waveforms = torch.zeros(1, 16_000, device="meta")
    assert WhisperLogMel(80)._log_power(waveforms, 100).device.type == "meta"


def test_it_has_no_weights():
    assert WhisperLogMel(80).state_dict() == {}
