# SPDX-License-Identifier: Apache-2.0
"""A log-Mel filterbank as a backbone: no download, no weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .base import (
    BackboneError,
    BackboneSpec,
    freeze,
    padding_mask_from_lengths,
    prepare_waveforms,
)

# Part of the fingerprint: raise it with every change to this file that changes a feature's value.
_CODE_VERSION = 1
_SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class FilterbankConfig:
    """What decides the features of `FilterbankBackbone`.

    Attributes:
        num_mels: Mel filters.
        window_seconds: Length of the Hann window.
        hop_seconds: Step from one window to the next.
        stack: Neighbouring windows that make one frame; 2 gives the 50 Hz of the HF encoders.
        min_frequency: Lower edge of the lowest filter (Hz).
        max_frequency: Upper edge of the highest filter (Hz); below the 8 kHz that 16 kHz audio has.
        log_floor: Added to the Mel power before the logarithm, so that digital silence is finite.
            The default lies a little above the noise of 16-bit samples.
    """

    num_mels: int = 80
    window_seconds: float = 0.025
    hop_seconds: float = 0.010
    stack: int = 2
    min_frequency: float = 20.0
    max_frequency: float = 7_600.0
    log_floor: float = 1e-6

    def __post_init__(self) -> None:
        if self.num_mels < 1 or self.stack < 1:
            raise BackboneError(
                f"num_mels is {self.num_mels} and stack {self.stack}, but both must be at least 1."
            )
        if not (self.hop_seconds > 0 and self.window_seconds > 0 and self.log_floor > 0):
            raise BackboneError(
                f"window_seconds is {self.window_seconds}, hop_seconds {self.hop_seconds} and "
                f"log_floor {self.log_floor}, but all must be above 0."
            )
        if min(self.window_samples, self.hop_samples) < 1:
            raise BackboneError(
                f"window_seconds is {self.window_seconds} and hop_seconds {self.hop_seconds}, but "
                f"both must last a sample of {_SAMPLE_RATE} Hz at least."
            )
        if not 0 <= self.min_frequency < self.max_frequency <= 8_000:
            raise BackboneError(
                f"min_frequency is {self.min_frequency} and max_frequency {self.max_frequency} Hz, "
                "but 0 <= min_frequency < max_frequency <= 8000 is needed."
            )

    @property
    def window_samples(self) -> int:
        """Length of the window (samples)."""
        return round(self.window_seconds * _SAMPLE_RATE)

    @property
    def hop_samples(self) -> int:
        """Step from one window to the next (samples)."""
        return round(self.hop_seconds * _SAMPLE_RATE)


class FilterbankBackbone(nn.Module):
    """Log-Mel energies of mono audio at 16 kHz, `stack` windows to a frame.

    A window is cut where it lies wholly inside the clip (no centring, no reflection), so a frame
    depends on its own samples only and padding can never reach a real one. A clip shorter than one
    frame is zero-padded up to it.

    The energies are not normalised per clip: how loud a clip is says much about emotion, and a mean
    over one clip would take that away. `FeatureStandardizer` in the adapter brings them to zero
    mean and unit variance over the whole training set instead.

    Args:
        config: What to compute; the default is 160 features at 50 Hz.
    """

    window: Tensor
    mel_filters: Tensor
    precision = "fp32"

    def __init__(self, config: FilterbankConfig | None = None) -> None:
        super().__init__()
        import torchaudio

        self.filterbank_config = config = config or FilterbankConfig()
        self.window_samples = config.window_samples
        self.hop_samples = config.hop_samples
        self.fft_size = 1 << (self.window_samples - 1).bit_length()
        mel_filters = torchaudio.functional.melscale_fbanks(
            self.fft_size // 2 + 1,
            config.min_frequency,
            config.max_frequency,
            config.num_mels,
            _SAMPLE_RATE,
        )  # [frequencies, num_mels]
        if not bool((mel_filters.amax(dim=0) > 0).all()):
            raise BackboneError(
                f"num_mels is {config.num_mels}, which leaves filters without a single frequency "
                f"at a window of {config.window_seconds} s: lower num_mels or lengthen the window."
            )
        # Computed from the config, so they are no part of a state dict.
        self.register_buffer("mel_filters", mel_filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_samples), persistent=False)
        self.spec = BackboneSpec(
            name="fbank",
            feature_size=config.num_mels * config.stack,
            frame_rate=_SAMPLE_RATE / (self.hop_samples * config.stack),
            minimum_samples=self.window_samples + (config.stack - 1) * self.hop_samples,
            layers=0,
            parameters=0,
            receptive_field=self.window_samples + (config.stack - 1) * self.hop_samples,
            sample_rate=_SAMPLE_RATE,
        )
        freeze(self)

    def train(self, mode: bool = True) -> FilterbankBackbone:
        """Stay in eval mode, whatever a parent module asks for."""
        return super().train(False)

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute log-Mel frames.

        Args:
            waveforms: `[B, S]` float, mono at 16 kHz, in about -1..1.
            padding_mask: `[B, S]` bool, True = padding.

        Returns:
            Frames `[B, T, D]` float32, zero on padding, and their padding mask `[B, T]` bool.

        Raises:
            ValueError: Wrong shapes or types, or a clip with no real sample.
        """
        waveforms, lengths = prepare_waveforms(waveforms, padding_mask, self.spec.minimum_samples)
        frame_lengths = self._frame_lengths(lengths)  # [B]
        size = int(frame_lengths.max())
        # Mixed precision would cost the quiet Mels their digits.
        with torch.autocast(waveforms.device.type, enabled=False):
            energies = self._log_mel(waveforms)[:, : size * self.filterbank_config.stack]
        # [B, T * stack, num_mels] -> [B, T, D]
        frames = rearrange(
            energies, "b (t stack) m -> b t (stack m)", stack=self.filterbank_config.stack
        )
        frame_padding_mask = padding_mask_from_lengths(frame_lengths, size)
        return frames.masked_fill(frame_padding_mask[..., None], 0.0), frame_padding_mask

    def _frame_lengths(self, lengths: Tensor) -> Tensor:
        windows = torch.div(lengths - self.window_samples, self.hop_samples, rounding_mode="floor")
        stacked = torch.div(windows + 1, self.filterbank_config.stack, rounding_mode="floor")
        return stacked.clamp(min=1)

    def _log_mel(self, waveforms: Tensor) -> Tensor:
        windows = waveforms.unfold(1, self.window_samples, self.hop_samples)  # [B, T, window]
        # An offset of the recording would leak into the lowest filters.
        windows = (windows - windows.mean(dim=-1, keepdim=True)) * self.window
        windows = F.pad(windows, (0, self.fft_size - self.window_samples))
        spectrum = torch.fft.rfft(windows)  # [B, T, frequencies]
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log(power @ self.mel_filters + self.filterbank_config.log_floor)

    def config(self) -> dict[str, Any]:
        """JSON-able; `backbone_from_config` builds the same backbone from it."""
        return {"type": "fbank", **asdict(self.filterbank_config)}

    def fingerprint(self) -> str:
        """64 hexadecimal digits that are the same exactly when the features are the same."""
        content = json.dumps({**self.config(), "code": _CODE_VERSION}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def cache_key(self) -> str:
        """The same as the fingerprint: it is always computed in float32."""
        return self.fingerprint()

    @property
    def preferred_batch_seconds(self) -> float:
        """Seconds of padded audio to a batch; it hardly matters here."""
        return 60.0
