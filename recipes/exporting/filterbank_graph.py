# SPDX-License-Identifier: Apache-2.0
"""The filterbank backbone as a graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxadapt.backbones import FilterbankBackbone
from voxadapt.recipes.exporting.mel_power import MelPower


class FilterbankGraph(nn.Module):
    """What `FilterbankBackbone` computes, with nothing that depends on the values of lengths.

    Args:
        backbone: The filterbank.
    """

    def __init__(self, backbone: FilterbankBackbone) -> None:
        super().__init__()
        config = backbone.filterbank_config
        window = backbone.window.double()

        def transform(windows: Tensor) -> Tensor:
            windows = (windows - windows.mean(dim=-1, keepdim=True)) * window
            return torch.fft.rfft(windows, backbone.fft_size)

        self.mel_power = MelPower(
            transform, backbone.window_samples, backbone.hop_samples, backbone.mel_filters
        )
        self.log_floor = config.log_floor
        self.stack = config.stack
        self.minimum_samples = backbone.spec.minimum_samples

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute log-Mel frames.

        Args:
            waveforms: ``[B, S]`` float32, zero on padding, ``S`` at least `minimum_samples`.
            lengths: Real samples of each clip ``[B]``.

        Returns:
            Frames ``[B, T, D]``, whose padding may hold anything, and frames of each clip ``[B]``.
        """
        power = self.mel_power(waveforms)
        energies = torch.log(power + self.log_floor).float()  # [B, T * stack, M]
        size = energies.shape[1] // self.stack
        energies = energies[:, : size * self.stack]
        frames = energies.unflatten(1, (size, self.stack)).flatten(start_dim=2)
        window, hop = self.mel_power.window_samples, self.mel_power.hop_samples
        windows = (lengths.clamp(min=self.minimum_samples) - window) // hop + 1
        return frames, windows // self.stack


def pad_to(waveforms: Tensor, samples: int) -> Tensor:
    """Pad ``[B, S]`` with zeros on the right up to ``samples``, where ``S`` is less."""
    return F.pad(waveforms, (0, torch.sym_max(0, samples - waveforms.shape[1])))
