# SPDX-License-Identifier: Apache-2.0
"""Windows of audio to the power in Mel filters, by two matrix products."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class MelPower(nn.Module):
    """The power of windows in Mel filters, without a Fourier transform and without complex numbers.

    What is done to a window before its power is taken (offset removed, preemphasis, window, Fourier
    transform) is linear, and so is one matrix, which is found by doing it to the unit vectors. ONNX
    has a Fourier transform too, but runtimes differ in whether and how well they have it.

    The products are in float64: in float32 the rounding of the loudest frequency would cover the
    quietest filters. They are a small part of any model's work.

    Args:
        transform: From windows ``[N, window]`` float64 to their spectrum ``[N, frequencies]``
            complex.
        window_samples: Samples in a window.
        hop_samples: Samples from one window to the next.
        mel_filters: ``[frequencies, M]``.
    """

    matrix: Tensor
    mel_filters: Tensor

    def __init__(
        self,
        transform: Callable[[Tensor], Tensor],
        window_samples: int,
        hop_samples: int,
        mel_filters: Tensor,
    ) -> None:
        super().__init__()
        self.window_samples = window_samples
        self.hop_samples = hop_samples
        spectrum = transform(torch.eye(window_samples, dtype=torch.float64))
        self.register_buffer("matrix", torch.cat([spectrum.real, spectrum.imag], dim=-1))
        self.register_buffer("mel_filters", mel_filters.double())

    def forward(self, waveforms: Tensor) -> Tensor:
        """Compute the power of all windows that lie in the waveforms.

        Args:
            waveforms: ``[B, S]`` float32, at least one window long.

        Returns:
            ``[B, T, M]`` float64.
        """
        windows = waveforms.unfold(1, self.window_samples, self.hop_samples)  # [B, T, window]
        real, imaginary = (windows.double() @ self.matrix).chunk(2, dim=-1)
        return (real.square() + imaginary.square()) @ self.mel_filters
