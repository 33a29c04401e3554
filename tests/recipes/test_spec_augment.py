# SPDX-License-Identifier: Apache-2.0
"""What SpecAugment hides of a clip."""

import pytest
import torch

from voxadapt.recipes.finetune_options import SpecAugmentOptions
from voxadapt.recipes.spec_augment import draw_spec_augment, draw_stretch


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_stretches_stay_within_the_share_and_reach_every_place() -> None:
    widths, places = set(), set()
    for seed in range(300):
        start, end = draw_stretch(20, 0.25, seeded(seed))
        assert 0 <= start <= end <= 20
        widths.add(end - start)
        places |= set(range(start, end))
    assert widths == {0, 1, 2, 3, 4, 5}
    assert places == set(range(20))
    assert all(draw_stretch(1, 0.5, seeded(seed)) in ((0, 0), (1, 1)) for seed in range(9))
    assert {draw_stretch(3, 1.0, seeded(seed)) for seed in range(99)} >= {(0, 3), (0, 1)}


def test_time_masks_hide_whole_frames_and_feature_masks_whole_bands() -> None:
    time = SpecAugmentOptions(time_masks=1, time_share=0.5, feature_masks=0)
    bands = SpecAugmentOptions(time_masks=0, feature_masks=1, feature_share=0.5)
    for seed in range(50):
        hidden = draw_spec_augment(12, 10, time, seeded(seed))
        assert hidden.shape == (12, 10)
        assert hidden.dtype == torch.bool
        assert (hidden.all(dim=1) == hidden.any(dim=1)).all()
        assert hidden.any(dim=1).sum() <= 6
        hidden = draw_spec_augment(12, 10, bands, seeded(seed))
        assert (hidden.all(dim=0) == hidden.any(dim=0)).all()
        assert hidden.any(dim=0).sum() <= 5


def test_a_band_is_hidden_in_every_stacked_frame() -> None:
    options = SpecAugmentOptions(time_masks=0, feature_masks=1, feature_share=0.5)
    found = 0
    for seed in range(50):
        hidden = draw_spec_augment(4, 20, options, seeded(seed), period=10)
        assert torch.equal(hidden[:, :10], hidden[:, 10:])
        found += int(hidden.any() and not hidden[:, :10].all())
    assert found > 20


def test_it_depends_on_the_generator_alone() -> None:
    options = SpecAugmentOptions()
    draws = [draw_spec_augment(40, 12, options, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_clips_and_no_masks_at_all(length: int) -> None:
    off = SpecAugmentOptions(time_masks=0, feature_masks=0)
    assert not draw_spec_augment(length, 10, off, seeded(0)).any()
    assert draw_spec_augment(length, 10, SpecAugmentOptions(), seeded(0)).shape == (length, 10)
