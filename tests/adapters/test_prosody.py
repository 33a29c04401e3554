# SPDX-License-Identifier: Apache-2.0
"""The loudness contour says how loudness moves, and not how loud a clip is."""

import math

import numpy as np
import pytest
import torch

from voxadapt.adapters.prosody import (
    CENTERS,
    PROSODY_SIZE,
    SCALES,
    SLOPES,
    SPREADS,
    prosody,
    slope,
    spread_around,
)

BANDS = 6
LENGTHS = (30, 90, 1)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of two windows each, and padding mask."""
    frames = 3 * torch.randn(3, 90, 2 * BANDS, generator=torch.Generator().manual_seed(0))
    padding_mask = torch.arange(90) >= torch.tensor(LENGTHS).unsqueeze(1)
    return frames, padding_mask


def unscaled(values: torch.Tensor) -> np.ndarray:
    return values.double().numpy() * np.array(SCALES) + np.array(CENTERS)


def test_against_a_loop_over_frames(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    frames, padding_mask = batch
    found = unscaled(prosody(frames, padding_mask, BANDS))
    assert found.shape == (3, 90, PROSODY_SIZE)
    for row, length in enumerate(LENGTHS):
        clip = frames[row, :length].double().numpy()
        spectra = (clip[:, :BANDS] + clip[:, BANDS:]) / 2
        loudness = np.log(np.exp(0.3 * spectra).mean(axis=1)) / 0.3
        level = loudness - loudness.mean()
        for frame in range(length):
            expected = [level[frame]]
            for reach in SLOPES:
                rise = level[min(frame + reach, length - 1)] - level[max(frame - reach, 0)]
                expected += [rise, abs(rise)]
            for reach in SPREADS:
                expected.append(level[max(frame - reach, 0) : frame + reach + 1].std())
            np.testing.assert_allclose(found[row, frame], expected, rtol=1e-3, atol=1e-3)


def test_a_gain_changes_nothing_and_a_fade_does(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    frames, padding_mask = batch
    expected = prosody(frames, padding_mask, BANDS)
    louder = prosody(frames + math.log(4.0), padding_mask, BANDS)
    torch.testing.assert_close(louder, expected, atol=1e-4, rtol=0)
    faded = frames - 0.1 * torch.arange(90.0)[:, None]
    change = unscaled(prosody(faded, padding_mask, BANDS)) - unscaled(expected)
    np.testing.assert_allclose(change[1, 10:80, 1], -0.2, atol=1e-4)  # from 1 before to 1 after
    np.testing.assert_allclose(change[1, 10:80, 5], -1.6, atol=1e-4)  # from 8 before to 8 after


def test_padding_is_zero_and_changes_nothing(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    frames, padding_mask = batch
    expected = prosody(frames, padding_mask, BANDS)
    assert (expected[padding_mask] == 0).all()
    dirty = frames.masked_fill(padding_mask.unsqueeze(-1), float("nan"))
    longer = torch.nn.functional.pad(dirty, (0, 0, 0, 50), value=float("inf"))
    mask = torch.nn.functional.pad(padding_mask, (0, 50), value=True)
    torch.testing.assert_close(prosody(longer, mask, BANDS)[:, :90], expected, atol=1e-5, rtol=0)
    for row, length in enumerate(LENGTHS):
        alone = prosody(frames[row : row + 1, :length], padding_mask[row : row + 1, :length], BANDS)
        torch.testing.assert_close(alone[0], expected[row, :length], atol=1e-5, rtol=0)


def test_a_clip_without_a_real_frame_is_finite() -> None:
    values = prosody(torch.randn(1, 4, BANDS), torch.ones(1, 4, dtype=torch.bool), BANDS)
    assert (values == 0).all()


def test_it_is_computed_in_single_precision(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = prosody(*batch, BANDS)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, prosody(*batch, BANDS))


def test_bands_must_divide_the_features() -> None:
    with pytest.raises(ValueError, match="bands: found 5, must divide the 12 features of a frame"):
        prosody(torch.zeros(1, 3, 12), torch.zeros(1, 3, dtype=torch.bool), 5)


def test_slopes_stop_at_the_ends_of_a_clip() -> None:
    level = torch.tensor([[0.0, 1.0, 3.0, 99.0], [5.0, 99.0, 99.0, 99.0]])
    lengths = torch.tensor([[3.0], [1.0]])
    found = slope(level, lengths, 2)
    assert found[0, :3].tolist() == [3.0, 3.0, 3.0]
    assert found[1, 0] == 0.0


def test_spread_of_a_level_that_does_not_move_is_nothing() -> None:
    level, real = torch.full((1, 5), 2.0), torch.ones(1, 5)
    assert spread_around(level, real, 3)[0].tolist() == pytest.approx([0.0] * 5, abs=1e-3)
