# SPDX-License-Identifier: Apache-2.0
"""Whisper's log-Mel spectrogram, batched and on any device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import padding_mask_from_lengths

MEL_HOP_SAMPLES = 160
_FFT_SIZE = 400
_POWER_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0  # log10 units below the loudest point of the clip


class WhisperLogMel(nn.Module):
    """The input of Whisper (Radford et al. 2022, section 2.2), as `WhisperFeatureExtractor` has it.

    Hann windows of 25 ms every 10 ms, centred, Slaney's Mel scale, log10, clamped to 8 below the
    clip's maximum, and shifted and scaled to about -1..1.

    Args:
        num_mels: Mel filters: 80, or 128 for large-v3 and its relatives.
    """

    window: Tensor
    mel_filters: Tensor

    def __init__(self, num_mels: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        filters = mel_filter_bank(
            num_frequency_bins=_FFT_SIZE // 2 + 1,
            num_mel_filters=num_mels,
            min_frequency=0.0,
            max_frequency=8_000.0,
            sampling_rate=16_000,
            norm="slaney",
            mel_scale="slaney",
        )  # [frequencies, num_mels]
        # Computed, so they are no part of a state dict.
        self.register_buffer("mel_filters", torch.from_numpy(filters).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(_FFT_SIZE), persistent=False)

    def forward(self, waveforms: Tensor, mel_lengths: Tensor) -> Tensor:
        """Compute the spectrogram.

        Args:
            waveforms: `[B, S]` float, mono at 16 kHz, zero beyond a clip's end.
            mel_lengths: Mel frames of each clip `[B]`. The maximum is taken over these; what lies
                beyond is set to zero, which is what the encoder's convolutions pad with.

        Returns:
            `[B, num_mels, T]` float32 with `T = S // 160`.
        """
        # Mixed precision would cost the quiet Mels their digits.
        with torch.autocast(waveforms.device.type, enabled=False):
            spectrum = torch.stft(
                waveforms.float(),
                _FFT_SIZE,
                MEL_HOP_SAMPLES,
                window=self.window.float(),
                return_complex=True,
            )
            # Whisper leaves out the last of the centred frames.
            spectrum = spectrum[..., :-1]  # [B, frequencies, T]
            power = spectrum.real.square() + spectrum.imag.square()
            log_power = (self.mel_filters.float().T @ power).clamp(min=_POWER_FLOOR).log10()
        padding = padding_mask_from_lengths(mel_lengths, log_power.shape[-1])[:, None]  # [B, 1, T]
        loudest = log_power.masked_fill(padding, -torch.inf).amax(dim=(1, 2), keepdim=True)
        log_power = torch.maximum(log_power, loudest - _DYNAMIC_RANGE)
        return ((log_power + 4.0) / 4.0).masked_fill(padding, 0.0)
