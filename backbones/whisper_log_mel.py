# SPDX-License-Identifier: Apache-2.0
"""Whisper's log-Mel spectrogram, batched and on any device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
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
        # No buffers: casting an encoder to half precision would cost them their digits.
        self.mel_filters = torch.from_numpy(filters).float()
        self.window = torch.hann_window(_FFT_SIZE)

    def forward(self, waveforms: Tensor, mel_lengths: Tensor, frames: int | None = None) -> Tensor:
        """Compute the spectrogram.

        Args:
            waveforms: `[B, S]` float, mono at 16 kHz, zero beyond a clip's end.
            mel_lengths: Mel frames of each clip `[B]`. The maximum is taken over these; what lies
                beyond is set to zero, which is what the encoder's convolutions pad with.
            frames: Mel frames `T`; None for `S // 160`. Where they are more than the waveforms
                have, silence follows, whose spectrogram is known without computing it.

        Returns:
            `[B, num_mels, T]` float32.
        """
        frames = waveforms.shape[1] // MEL_HOP_SAMPLES if frames is None else frames
        # Mixed precision would cost the quiet Mels their digits.
        with torch.autocast(waveforms.device.type, enabled=False):
            log_power = self._log_power(waveforms.float(), frames)  # [B, T, num_mels]
        if bool((mel_lengths == frames).all()):
            loudest = log_power.amax(dim=(1, 2), keepdim=True)
            padding = None
        else:
            lengths = mel_lengths.to(log_power.device)
            padding = padding_mask_from_lengths(lengths, frames)[..., None]  # [B, T, 1]
            loudest = log_power.masked_fill(padding, -torch.inf).amax(dim=(1, 2), keepdim=True)
        log_power = torch.maximum(log_power, loudest - _DYNAMIC_RANGE)
        mels = (log_power + 4.0) / 4.0
        mels = mels if padding is None else mels.masked_fill(padding, 0.0)
        return mels.transpose(1, 2)

    def _log_power(self, waveforms: Tensor, frames: int) -> Tensor:
        """Return log10 of the Mel power `[B, T, num_mels]`."""
        half = _FFT_SIZE // 2
        samples = frames * MEL_HOP_SAMPLES
        if waveforms.shape[1] > samples - half:
            # As Whisper's, the spectrogram reflects what it is given at both ends.
            waveforms = F.pad(waveforms, (0, max(0, samples - waveforms.shape[1])))
            waveforms = F.pad(waveforms[:, :samples], (half, half), mode="reflect")
            heard = frames
        else:
            # A frame that begins after the end is silent, and so is the end that is reflected.
            heard = min(frames, (waveforms.shape[1] + half) // MEL_HOP_SAMPLES + 1)
            waveforms = F.pad(waveforms, (0, _FFT_SIZE))
            waveforms = F.pad(waveforms, (half, half), mode="reflect")
        windows = waveforms.unfold(1, _FFT_SIZE, MEL_HOP_SAMPLES)[:, :heard]  # [B, T, window]
        spectrum = torch.fft.rfft(windows * self.window.to(windows.device))  # [B, T, frequencies]
        power = spectrum.real.square() + spectrum.imag.square()
        log_power = (power @ self.mel_filters.to(power.device)).clamp_(min=_POWER_FLOOR).log10_()
        silence = math.log10(_POWER_FLOOR)
        return F.pad(log_power, (0, 0, 0, frames - heard), value=silence)
