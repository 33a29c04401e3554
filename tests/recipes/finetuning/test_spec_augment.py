# SPDX-License-Identifier: Apache-2.0
"""What SpecAugment hides of a clip."""

import pytest
import torch

from voxadapt.adapters.masking import draw_stretch
from voxadapt.recipes.finetuning.options import SpecAugmentOptions
from voxadapt.recipes.finetuning.spec_augment import draw_batch_augment, draw_spec_augment


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


def test_time_masks_hide_frames_and_feature_masks_features() -> None:
    time = SpecAugmentOptions(time_masks=1, time_share=0.5, feature_masks=0)
    bands = SpecAugmentOptions(time_masks=0, feature_masks=1, feature_share=0.5)
    hidden_frames, hidden_features = set(), set()
    for seed in range(50):
        span_mask, feature_mask = draw_spec_augment(12, 10, time, seeded(seed))
        assert (span_mask.shape, feature_mask.shape) == ((12,), (10,))
        assert span_mask.dtype == feature_mask.dtype == torch.bool
        assert not feature_mask.any()
        hidden_frames.add(int(span_mask.sum()))
        span_mask, feature_mask = draw_spec_augment(12, 10, bands, seeded(seed))
        assert not span_mask.any()
        hidden_features.add(int(feature_mask.sum()))
    assert hidden_frames == set(range(7))
    assert hidden_features == set(range(6))


def test_a_band_is_hidden_in_every_stacked_frame() -> None:
    options = SpecAugmentOptions(time_masks=0, feature_masks=1, feature_share=0.5)
    for seed in range(50):
        _, hidden = draw_spec_augment(4, 20, options, seeded(seed), period=10)
        assert torch.equal(hidden[:10], hidden[10:])


def test_it_depends_on_the_generator_alone() -> None:
    options = SpecAugmentOptions()
    draws = [torch.cat(draw_spec_augment(40, 12, options, seeded(seed))) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_clips_and_no_masks_at_all(length: int) -> None:
    off = SpecAugmentOptions(time_masks=0, feature_masks=0)
    assert not torch.cat(draw_spec_augment(length, 10, off, seeded(0))).any()
    span_mask, _ = draw_spec_augment(length, 10, SpecAugmentOptions(), seeded(0))
    assert span_mask.shape == (length,)


def test_what_a_batch_hides_depends_on_seed_epoch_and_clip_and_not_on_the_batch() -> None:
    options = SpecAugmentOptions(time_share=0.5, feature_masks=1, feature_share=0.5)
    lengths = {"a": 6, "b": 9, "c": 4, "d": 9}

    def draw(ids: str, seed: int = 0, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = torch.tensor([lengths[clip_id] for clip_id in ids])
        padding_mask = torch.arange(int(sizes.max())) >= sizes[:, None]
        spans, features = draw_batch_augment(
            list(ids), padding_mask, 12, options, seed, [epoch] * len(ids)
        )
        assert spans.shape == padding_mask.shape
        assert features.shape == (len(ids), 12)
        assert not (spans & padding_mask).any()
        return spans, features

    spans, features = draw("abcd")
    assert spans.any()
    assert features.any()
    for row, clip_id in enumerate("abcd"):
        alone = draw(clip_id)
        assert torch.equal(alone[0][0], spans[row, : lengths[clip_id]])
        assert torch.equal(alone[1][0], features[row])
    assert not torch.equal(spans[1], spans[3])  # of one length, but other clips
    assert not torch.equal(draw("abcd", epoch=1)[0], spans)
    assert not torch.equal(draw("abcd", seed=1)[0], spans)


def test_each_clip_of_a_batch_has_a_turn_of_its_own() -> None:
    options = SpecAugmentOptions(time_share=0.5)
    padding_mask = torch.zeros(3, 40, dtype=torch.bool)
    spans, _ = draw_batch_augment(["a"] * 3, padding_mask, 12, options, 0, [0, 1, 0])
    assert torch.equal(spans[0], spans[2])
    assert not torch.equal(spans[0], spans[1])


def test_bands_of_a_batch_repeat_with_the_period() -> None:
    options = SpecAugmentOptions(time_masks=0, feature_masks=1, feature_share=0.5)
    padding_mask = torch.zeros(4, 5, dtype=torch.bool)
    _, features = draw_batch_augment(list("abcd"), padding_mask, 12, options, 0, [0] * 4, period=6)
    assert torch.equal(features[:, :6], features[:, 6:])
    assert features.any()
