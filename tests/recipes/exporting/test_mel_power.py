# SPDX-License-Identifier: Apache-2.0
"""Windows to Mel power by matrix products."""

import torch

from voxadapt.recipes.exporting.mel_power import MelPower


def test_it_is_the_power_of_each_windows_spectrum_in_the_filters() -> None:
    generator = torch.Generator().manual_seed(0)
    waveforms = torch.randn(2, 130, generator=generator)
    filters = torch.rand(9, 3, generator=generator)
    shape = torch.hann_window(16, dtype=torch.float64)
    found = MelPower(lambda windows: torch.fft.rfft(windows * shape), 16, 10, filters)(waveforms)
    assert found.shape == (2, 12, 3)
    for start in range(12):
        window = waveforms[:, start * 10 : start * 10 + 16].double() * shape
        expected = torch.fft.rfft(window).abs().square() @ filters.double()
        torch.testing.assert_close(found[:, start], expected, atol=1e-12, rtol=1e-12)


def test_a_quiet_tone_is_heard_beside_a_loud_one() -> None:
    time = torch.arange(400) / 16_000
    loud, quiet = torch.sin(2 * torch.pi * 400 * time), torch.sin(2 * torch.pi * 4_000 * time)
    filters = torch.eye(201)
    window = torch.hann_window(400, dtype=torch.float64)
    power = MelPower(lambda windows: torch.fft.rfft(windows * window), 400, 160, filters)
    alone = power((1e-4 * quiet)[None])[0, 0, 100]
    beside = power((loud + 1e-4 * quiet)[None])[0, 0, 100]
    assert alone > 0
    # float32 samples bear the quiet tone to about a thousandth.
    torch.testing.assert_close(beside, alone, rtol=5e-3, atol=0)
