# SPDX-License-Identifier: Apache-2.0
"""Kaldi's log-Mel filterbank as Wav2Vec2-BERT reads it, batched and on any device."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from .base import padding_mask_from_lengths
from .widest_type import widest_type

_NUM_MELS = 80
_WINDOW_SAMPLES = 400
_HOP_SAMPLES = 160
_FFT_SIZE = 512
_PREEMPHASIS = 0.97
# Kaldi reads 16-bit samples as they are.
_SAMPLE_SCALE = 2.0**15
# Epsilon of float32, which Kaldi takes as the least Mel energy.
_MEL_FLOOR = 1.192092955078125e-07
_VARIANCE_EPSILON = 1e-7
_MELS_PER_FRAME = 2
# Windows of the whole batch whose spectra are held at a time: about 50 MB.
_WINDOWS_AT_ONCE = 4096


class KaldiFilterbank(nn.Module):
    """The input of Wav2Vec2-BERT, as `SeamlessM4TFeatureExtractor` of transformers computes it.

    Povey windows of 25 ms every 10 ms, wholly inside the clip; offset removed, preemphasis, 80 Mel
    filters, natural logarithm. Each Mel is brought to zero mean and unit variance over the clip,
    and two windows make one frame.

    A clip has `1 + (samples - 400) // 160` windows and half as many frames. With an odd number of
    windows the last counts in mean and variance but makes no frame: the extractor fills such a
    frame up with padding, and marks it as padding too.

    A clip gives a frame of its own from 560 samples, which are two windows, and is taken as
    zero-padded up to there. Of a single window the extractor makes no real frame either, and its
    features are NaN, since the variance of one value is 0 / 0 (it divides by one less than the
    count).

    A Mel that all but stays the same over the clip, as in digital silence or a steady tone, has
    next to no variance to be divided by, so that the rounding of the extractor's float32 mean
    shows, up to some 0.02. Here digital silence gives 0.
    """

    feature_size = _NUM_MELS * _MELS_PER_FRAME
    frame_samples = _HOP_SAMPLES * _MELS_PER_FRAME
    minimum_samples = _WINDOW_SAMPLES + (_MELS_PER_FRAME - 1) * _HOP_SAMPLES

    def __init__(self) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank, window_function

        filters = mel_filter_bank(
            num_frequency_bins=_FFT_SIZE // 2 + 1,
            num_mel_filters=_NUM_MELS,
            min_frequency=20.0,
            max_frequency=8_000.0,
            sampling_rate=16_000,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )  # [frequencies, num_mels] float64
        window = window_function(_WINDOW_SAMPLES, "povey", periodic=False)
        # No buffers: casting an encoder to half precision would cost them their digits.
        self.mel_filters = torch.from_numpy(filters)
        self.window = torch.from_numpy(window)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for clips of `lengths` `[B]` samples: at least one."""
        return _mel_lengths(lengths) // _MELS_PER_FRAME

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features.

        Args:
            waveforms: `[B, S]` float, mono at 16 kHz, in about -1..1; zero on padding, with
                `S >= minimum_samples`.
            lengths: Real samples of each clip `[B]`.

        Returns:
            Features `[B, T, 160]` float32, zero on padding, and frames of each clip `[B]`.
        """
        mel_lengths = _mel_lengths(lengths)
        # Mixed precision would cost the quiet Mels their digits.
        with torch.autocast(waveforms.device.type, enabled=False):
            energies = self._log_mel(waveforms, int(mel_lengths.max()))
            energies = _normalize(energies, mel_lengths)  # [B, M, num_mels]
        frame_lengths = mel_lengths // _MELS_PER_FRAME
        size = int(frame_lengths.max())
        frames = rearrange(
            energies[:, : size * _MELS_PER_FRAME],
            "b (t stack) m -> b t (stack m)",
            stack=_MELS_PER_FRAME,
        )
        padding_mask = padding_mask_from_lengths(frame_lengths, size)
        return frames.masked_fill(padding_mask[..., None], 0.0), frame_lengths

    def _log_mel(self, waveforms: Tensor, size: int) -> Tensor:
        """Compute the first `size` log-Mel windows `[B, size, num_mels]`."""
        # In float32 the rounding error of the loudest frequency would cover the quietest Mels.
        dtype = widest_type(waveforms.device)
        mel_filters = self.mel_filters.to(waveforms.device, dtype)
        window = self.window.to(waveforms.device, dtype)
        samples = waveforms.unfold(1, _WINDOW_SAMPLES, _HOP_SAMPLES)[:, :size]  # [B, size, window]
        energies = []
        for block in samples.split(max(1, _WINDOWS_AT_ONCE // len(waveforms)), dim=1):
            windows = block.to(dtype) * _SAMPLE_SCALE
            windows = windows - windows.mean(dim=-1, keepdim=True)
            # The first sample has none before it, so Kaldi takes itself.
            previous = torch.cat([windows[..., :1], windows[..., :-1]], dim=-1)
            windows = (windows - _PREEMPHASIS * previous) * window
            spectrum = torch.fft.rfft(windows, _FFT_SIZE)  # [B, M, frequencies]
            power = spectrum.real.square() + spectrum.imag.square()
            energies.append((power @ mel_filters).clamp(min=_MEL_FLOOR).log().float())
        return torch.cat(energies, dim=1)


def _mel_lengths(lengths: Tensor) -> Tensor:
    lengths = lengths.clamp(min=KaldiFilterbank.minimum_samples)
    return (lengths - _WINDOW_SAMPLES) // _HOP_SAMPLES + 1


def _normalize(energies: Tensor, mel_lengths: Tensor) -> Tensor:
    """Bring each Mel to zero mean and unit variance over each clip's own windows."""
    padding_mask = padding_mask_from_lengths(mel_lengths, energies.shape[1])[..., None]  # [B, M, 1]
    count = mel_lengths[:, None, None]
    # In float64, so that where a Mel does not change at all its mean is that very number.
    dtype = widest_type(energies.device)
    total = energies.masked_fill(padding_mask, 0.0).sum(dim=1, keepdim=True, dtype=dtype)
    centred = (energies - (total / count).float()).masked_fill(padding_mask, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / (count - 1)  # [B, 1, num_mels]
    return centred / torch.sqrt(variance + _VARIANCE_EPSILON)
