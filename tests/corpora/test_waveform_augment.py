# SPDX-License-Identifier: Apache-2.0
"""Speed, noise and gain are what was asked for, measured on the waveform."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voxadapt.recipes.corpora.waveform_augment import (
    WaveformAugmentation,
    add_noise,
    augment,
    change_speed,
    coloured_noise,
    cut_or_repeat,
    draw,
)

ALL_ON: dict[str, Any] = {"speed": [0.9, 1.1], "gain_db": [-6, 6], "noise_snr_db": [5, 20]}


def tone(hertz: float, seconds: float = 1.0) -> Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(round(16_000 * seconds)) / 16_000)


def pitch(waveform: Tensor) -> float:
    """Frequency (Hz) of the largest peak."""
    spectrum = torch.fft.rfft(waveform * torch.hann_window(len(waveform)), n=1 << 17)
    return float(spectrum.abs().argmax()) * 16_000 / (1 << 17)


def nothing_else() -> Tensor | None:
    return None


def changed(
    waveform: Tensor, seed: int = 0, other: Callable[[], Tensor | None] = nothing_else, **on: Any
) -> tuple[Tensor, Tensor]:
    return augment(waveform, WaveformAugmentation(**on), np.random.default_rng(seed), other)


@pytest.mark.parametrize("percent", [50, 90, 97, 113, 200])
def test_a_speed_changes_length_and_pitch(percent: int) -> None:
    faster = change_speed(tone(440.0), percent)
    assert len(faster) == -(-16_000 * 100 // percent)
    assert pitch(faster) == pytest.approx(440.0 * percent / 100, rel=0.002)
    inner = faster[500:-500]  # the ends ring
    assert float(inner.square().mean().sqrt()) == pytest.approx(0.3 / 2**0.5, rel=0.02)


def test_the_speed_as_it_is_changes_nothing() -> None:
    waveform = tone(440.0)
    assert change_speed(waveform, 100) is waveform


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for_offsets_left_out(snr_db: float) -> None:
    waveform, noise = tone(300.0) + 0.5, 7.0 * coloured_noise(16_000, 1.0, np.random.default_rng(0))
    added = (add_noise(waveform, noise + 3.0, snr_db) - waveform).double()
    ratio = waveform.double().var(correction=0) / added.square().mean()
    assert 10 * float(ratio.log10()) == pytest.approx(snr_db, abs=0.01)
    assert abs(float(added.mean())) < 1e-6


def test_silence_is_not_blown_up_to_noise() -> None:
    waveform = tone(300.0)
    assert add_noise(waveform, torch.full((16_000,), 0.2), 10.0) is waveform


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_has_its_colour(exponent: float) -> None:
    noise = coloured_noise(100_000, exponent, np.random.default_rng(0))
    assert noise.shape == (100_000,)
    assert noise.dtype == torch.float32
    size = 4_000  # 4 Hz a bin
    windows = noise.double().unfold(0, size, size // 2) * torch.hann_window(size)
    power = torch.fft.rfft(windows).abs().square().mean(dim=0)
    bands = 2.0 ** torch.arange(6.0, 13.0)  # 64 Hz to 4 kHz, an octave each
    levels = [power[int(low / 4) : int(low / 2)].mean().log2() for low in bands]
    slope = np.polyfit(bands.log2().numpy(), torch.stack(levels).numpy(), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


@pytest.mark.parametrize("samples", [1, 160, 2_049])
def test_noise_of_any_length(samples: int) -> None:
    noise = coloured_noise(samples, 1.5, np.random.default_rng(0))
    assert noise.shape == (samples,)
    assert noise.isfinite().all()


def test_nothing_is_on_by_default() -> None:
    waveform = tone(300.0)
    teacher, student = changed(waveform)
    assert teacher is student is waveform
    assert not WaveformAugmentation().is_on
    assert not WaveformAugmentation(noise_snr_db=[5, 20], noise_probability=0.0).is_on
    for name, ends in ALL_ON.items():
        assert WaveformAugmentation(**{name: ends}).is_on


def test_speed_is_for_both_and_noise_and_gain_for_the_student_alone() -> None:
    waveform = tone(440.0)
    teacher, student = changed(waveform, speed=[1.2, 1.2])
    assert teacher is student
    assert pitch(teacher) == pytest.approx(528.0, rel=0.002)

    teacher, student = changed(waveform, gain_db=[-6, -6])
    assert teacher is waveform
    torch.testing.assert_close(student, waveform * 10**-0.3)

    teacher, student = changed(waveform, noise_snr_db=[10, 10], noise_probability=1.0)
    assert teacher is waveform
    ratio = waveform.var(correction=0) / (student - waveform).square().mean()
    assert 10 * float(ratio.log10()) == pytest.approx(10.0, abs=0.01)

    teacher, student = changed(waveform, noise_probability=1.0, **ALL_ON)
    assert len(teacher) == len(student) != len(waveform)
    assert not torch.equal(teacher, student)


def test_babble_is_a_piece_of_the_other_clip() -> None:
    waveform, other = tone(300.0, 0.5), torch.randn(3_000)
    teacher, student = changed(
        waveform, other=lambda: other, noise_snr_db=[5, 5], noise_probability=1.0, babble_share=1.0
    )
    added = student - teacher
    around = torch.cat([other, other, other])
    best = max(
        float(torch.corrcoef(torch.stack([added[:3_000], around[first : first + 3_000]]))[0, 1])
        for first in range(3_000)
    )
    assert best == pytest.approx(1.0, abs=1e-3)
    # Where there is no other clip, there is noise all the same.
    _, student = changed(waveform, noise_snr_db=[5, 5], noise_probability=1.0, babble_share=1.0)
    assert not torch.equal(student, waveform)


def test_a_clip_is_cut_or_repeated_to_a_length() -> None:
    clip = torch.arange(5.0)
    assert cut_or_repeat(clip, 3, 1).tolist() == [1, 2, 3]
    assert cut_or_repeat(clip, 4, 3).tolist() == [3, 4, 0, 1]
    assert cut_or_repeat(clip, 12, 4).tolist() == [4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]


def test_draws_fill_their_ranges() -> None:
    settings = WaveformAugmentation(noise_probability=0.3, babble_share=0.2, **ALL_ON)
    drawn = [draw(settings, np.random.default_rng(seed)) for seed in range(500)]
    ranges = {
        "speed": ([entry.speed for entry in drawn], 90, 110),
        "gain_db": ([entry.gain_db for entry in drawn], -6, 6),
        "snr_db": ([entry.snr_db for entry in drawn if entry.snr_db is not None], 5, 20),
        "exponent": ([entry.exponent for entry in drawn], 0, 2),
    }
    for name, (found, least, most) in ranges.items():
        width = most - least
        assert least <= min(found) < least + 0.05 * width, name
        assert most - 0.05 * width < max(found) <= most, name
        assert np.mean(found) == pytest.approx((least + most) / 2, abs=0.1 * width), name
    assert np.mean([entry.snr_db is not None for entry in drawn]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([entry.babbles for entry in drawn]) == pytest.approx(0.2, abs=0.07)


def test_one_switch_does_not_change_what_is_drawn_for_another() -> None:
    noise = {"noise_snr_db": [5, 20], "noise_probability": 1.0}
    alone = draw(WaveformAugmentation(**noise), np.random.default_rng(3))
    among = draw(WaveformAugmentation(**{**ALL_ON, **noise}), np.random.default_rng(3))
    assert alone.snr_db is not None
    assert (alone.snr_db, alone.exponent) == (among.snr_db, among.exponent)


def test_the_generator_alone_decides() -> None:
    waveform, on = tone(300.0), {**ALL_ON, "noise_probability": 1.0}
    one, again, other = (changed(waveform, seed, **on)[1] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert len(other) != len(one) or not torch.equal(one, other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speed": [0.9]}, r"augment.speed: found \[0.9\], must be \[least, most\] .* 0.5 and 2"),
        ({"speed": [1.1, 0.9]}, "augment.speed"),
        ({"speed": [0.1, 1.0]}, "augment.speed"),
        ({"gain_db": [0, 100]}, "augment.gain_db.*between -60 and 60"),
        ({"noise_snr_db": [5, 10, 15]}, r"augment.noise_snr_db: .* or \[\] for none"),
        ({"noise_probability": 1.5}, "augment.noise_probability: found 1.5, must be 0 to 1"),
        ({"babble_share": -0.1}, "augment.babble_share"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WaveformAugmentation(**wrong)
