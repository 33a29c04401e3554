# SPDX-License-Identifier: Apache-2.0
"""Each change to the student's frames does what it says, and nothing else."""

import pytest
import torch

from voxadapt.adapters import FrameAugmentation, augment_frames
from voxadapt.adapters.frame_augment import stretch_bands

OFF = FrameAugmentation(level=0.0, channel=0.0, warp=0.0, noise=0.0)
BANDS, LENGTH = 8, 5


def only(**changes: float) -> FrameAugmentation:
    """One change alone."""
    return FrameAugmentation(**{"level": 0.0, "channel": 0.0, "warp": 0.0, "noise": 0.0, **changes})


def make_frames(size: int = 2 * BANDS) -> torch.Tensor:
    return torch.randn(LENGTH, size, generator=torch.Generator().manual_seed(3))


def augment(settings: FrameAugmentation, seed: int = 0, bands: int | None = BANDS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return augment_frames(make_frames(), settings, generator=generator, bands=bands)


def test_nothing_changes_when_all_is_off() -> None:
    assert torch.equal(augment(OFF), make_frames())
    assert not OFF.is_on
    assert FrameAugmentation().is_on


def test_level_is_one_offset_with_the_deviation_that_was_asked_for() -> None:
    offsets = []
    for seed in range(300):
        changed = augment(only(level=0.5), seed) - make_frames()
        torch.testing.assert_close(changed, changed[:1, :1].expand_as(changed), atol=1e-5, rtol=0)
        offsets.append(changed[0, 0])
    assert torch.stack(offsets).std() == pytest.approx(0.5, rel=0.15)
    assert torch.stack(offsets).mean() == pytest.approx(0.0, abs=0.1)


def test_channel_is_the_same_smooth_offset_in_every_frame_and_repetition() -> None:
    found = []
    for seed in range(300):
        changed = augment(only(channel=0.5), seed) - make_frames()
        torch.testing.assert_close(changed, changed[:1].expand_as(changed), atol=1e-5, rtol=0)
        torch.testing.assert_close(changed[:, :BANDS], changed[:, BANDS:], atol=1e-5, rtol=0)
        found.append(changed[0, :BANDS])
    place = torch.linspace(-1, 1, BANDS)
    curves = torch.stack([place, torch.cos(torch.pi * place), torch.sin(torch.pi * place)])
    offsets = torch.stack(found)
    shares = torch.linalg.lstsq(curves.T, offsets.T).solution
    torch.testing.assert_close(shares.T @ curves, offsets, atol=1e-4, rtol=0)
    torch.testing.assert_close(shares.std(dim=1), torch.full((3,), 0.5), atol=0.1, rtol=0)


def test_warp_moves_a_peak_by_at_most_its_share() -> None:
    peak = torch.zeros(1, 80)
    peak[0, 40] = 1.0
    places = []
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        changed = augment_frames(peak, only(warp=0.1), generator=generator, bands=80)
        places.append(float((changed[0] * torch.arange(80)).sum() / changed.sum()))
    assert 36 <= min(places) < 38
    assert 42 < max(places) <= 45


def test_stretch_reads_between_neighbours_and_stops_at_the_last_band() -> None:
    frames = torch.tensor([[0.0, 10.0, 20.0, 30.0, 0.0, 1.0, 2.0, 3.0]])
    expected = [[0.0, 15.0, 30.0, 30.0, 0.0, 1.5, 3.0, 3.0]]
    assert stretch_bands(frames, 1.5, 4).tolist() == expected
    assert stretch_bands(frames, 0.5, 4).tolist() == [[0.0, 5.0, 10.0, 15.0, 0.0, 0.5, 1.0, 1.5]]
    assert torch.equal(stretch_bands(frames, 1.0, 4), frames)


def test_noise_is_new_in_every_frame_and_of_at_most_its_deviation() -> None:
    deviations = [
        float((augment(only(noise=0.4), seed) - make_frames()).std()) for seed in range(50)
    ]
    assert max(deviations) < 0.5
    assert max(deviations) > 2 * min(deviations)
    changed = augment(only(noise=0.4)) - make_frames()
    assert len(set(changed.flatten().tolist())) > 70


def test_one_change_does_not_move_another() -> None:
    both = augment(only(noise=0.4, level=0.5)) - augment(only(noise=0.4))
    torch.testing.assert_close(both, augment(only(level=0.5)) - make_frames(), atol=1e-5, rtol=0)


def test_features_that_are_no_bands_only_get_noise() -> None:
    settings = FrameAugmentation()
    assert settings.for_bands(8) is settings
    assert settings.for_bands(None) == only(noise=settings.noise)
    expected = augment(only(noise=settings.noise))
    assert torch.equal(augment(settings, bands=None), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": -0.1}, "level: found -0.1, must be a finite number"),
        ({"noise": float("nan")}, "noise: found nan"),
        ({"warp": 1.0}, "warp: found 1.0, must be below 1"),
    ],
)
def test_settings_are_validated(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameAugmentation(**changes)


def test_bands_must_divide_the_features() -> None:
    with pytest.raises(ValueError, match="bands: found 5, must divide the 16 features"):
        augment(only(level=1.0), bands=5)
