# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from voxadapt.backbones.base import pad_waveforms
from voxadapt.backbones.kaldi_filterbank import KaldiFilterbank

# One, two, three, four and five windows and their neighbours, and a few seconds.
SAMPLES = [1, 399, 400, 559, 560, 561, 719, 720, 879, 880, 1_040, 16_000, 16_160, 50_001]


def extracted(clip: Tensor) -> Tensor:
    """The real frames `[T, 160]` of transformers' extractor."""
    from transformers import SeamlessM4TFeatureExtractor

    output = SeamlessM4TFeatureExtractor()(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
    return output.input_features[0, : int(output.attention_mask.sum())]


@pytest.mark.parametrize("samples", [*SAMPLES, 480_000])
def test_it_equals_the_extractor(samples, noise):
    clip = F.pad(noise(samples), (0, max(0, 560 - samples)))
    expected = extracted(clip)
    features, lengths = KaldiFilterbank()(clip[None], torch.tensor([samples]))
    assert lengths.tolist() == [len(expected)]
    torch.testing.assert_close(features[0], expected, atol=1e-4, rtol=0)


def test_every_clip_of_a_batch_equals_the_extractor(noise):
    clips = [noise(samples, seed) * 10.0 ** -(seed % 4) for seed, samples in enumerate(SAMPLES)]
    waveforms, mask = pad_waveforms(clips)
    features, lengths = KaldiFilterbank()(waveforms, (~mask).sum(dim=1))
    assert features.dtype == torch.float32
    assert features.shape == (len(clips), int(lengths.max()), 160)
    for clip, length, real in zip(clips, lengths.tolist(), features, strict=True):
        expected = extracted(F.pad(clip, (0, max(0, 560 - len(clip)))))
        assert length == len(expected)
        torch.testing.assert_close(real[:length], expected, atol=1e-4, rtol=0)
        assert not real[length:].any()


def test_whatever_lies_on_the_padding_stays_there(noise):
    filterbank = KaldiFilterbank()
    waveforms = noise(16_000)[None].repeat(3, 1)
    lengths = torch.tensor([560, 3_000, 16_000])
    dirty = waveforms.clone()
    dirty[0, 560:], dirty[1, 3_000:] = 1e4, torch.nan
    expected, _ = filterbank(waveforms, lengths)
    features, _ = filterbank(dirty, lengths)
    torch.testing.assert_close(features, expected, atol=0, rtol=0)


def test_quiet_mels_beside_a_loud_tone_keep_their_digits():
    tone = 0.9 * torch.sin(torch.arange(16_000) * 0.01)
    clip = tone + 1e-4 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    features, _ = KaldiFilterbank()(clip[None], torch.tensor([16_000]))
    torch.testing.assert_close(features[0], extracted(clip), atol=1e-4, rtol=0)


def test_the_odd_last_window_makes_no_frame_but_counts_in_the_mean(noise):
    filterbank = KaldiFilterbank()
    clip = noise(1_040)  # five windows, two frames
    louder = torch.cat([clip[:880], 5.0 * clip[880:]])
    (features, lengths), (others, _) = (
        filterbank(waveform[None], torch.tensor([1_040])) for waveform in (clip, louder)
    )
    assert lengths.tolist() == [2]
    assert (features - others).abs().max() > 0.1


def test_silence_within_a_clip_has_the_floor_of_the_extractor(noise):
    clip = noise(16_000)
    clip[4_000:9_000] = 0.0
    features, _ = KaldiFilterbank()(clip[None], torch.tensor([16_000]))
    torch.testing.assert_close(features[0], extracted(clip), atol=1e-4, rtol=0)


def test_digital_silence_gives_zeros():
    features, lengths = KaldiFilterbank()(torch.zeros(1, 16_000), torch.tensor([16_000]))
    assert lengths.tolist() == [49]
    assert features.abs().max() < 1e-4


def test_blocks_of_windows_change_nothing(noise, monkeypatch):
    waveforms = torch.stack([noise(16_000), noise(16_000, seed=1)])
    lengths = torch.tensor([16_000, 9_000])
    expected, _ = KaldiFilterbank()(waveforms, lengths)
    monkeypatch.setattr("voxadapt.backbones.kaldi_filterbank._WINDOWS_AT_ONCE", 14)
    features, _ = KaldiFilterbank()(waveforms, lengths)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


def test_spectra_are_not_all_held_at_a_time(monkeypatch):
    windows = []
    rfft = torch.fft.rfft

    def counted(values, *arguments):
        windows.append(values[..., 0].numel())
        return rfft(values, *arguments)

    monkeypatch.setattr(torch.fft, "rfft", counted)
    KaldiFilterbank()(torch.zeros(3, 16_000 * 60), torch.tensor([16_000 * 60] * 3))
    assert sum(windows) == 3 * 5_998
    assert max(windows) <= 4096


def test_half_precision_and_autocast_cost_no_digits(noise):
    clip = noise(16_000)[None]
    filterbank = KaldiFilterbank().to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = filterbank(clip, torch.tensor([16_000]))
    torch.testing.assert_close(features[0], extracted(clip[0]), atol=1e-4, rtol=0)


def test_it_has_no_weights():
    assert KaldiFilterbank().state_dict() == {}
