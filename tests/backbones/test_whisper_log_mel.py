# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from voxadapt.backbones.whisper_log_mel import WhisperLogMel

WINDOW = 480_000


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 29.99, 30.0, 30.01, 45.0])
def test_it_equals_whisper_feature_extractor(num_mels, seconds, noise):
    from transformers import WhisperFeatureExtractor

    clip = noise(round(seconds * 16_000))
    extractor = WhisperFeatureExtractor(feature_size=num_mels)
    # It cuts off what is beyond 30 s.
    expected = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    window = F.pad(clip, (0, max(0, WINDOW - len(clip))))[None, :WINDOW]
    mels = WhisperLogMel(num_mels)(window, torch.tensor([3_000]))
    assert mels.shape == (1, num_mels, 3_000)
    torch.testing.assert_close(mels, expected, atol=1e-4, rtol=0)


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


def test_it_has_no_weights():
    assert WhisperLogMel(80).state_dict() == {}
