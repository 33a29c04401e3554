# SPDX-License-Identifier: Apache-2.0
from itertools import groupby, product

import pytest
import torch

from voxadapt.adapters import draw_feature_mask, draw_span_mask


def draw(length: int, ratio: float, span_length: int, seed: int = 0) -> torch.Tensor:
    return draw_span_mask(
        length,
        ratio=ratio,
        span_length=span_length,
        generator=torch.Generator().manual_seed(seed),
    )


def spans(mask: torch.Tensor) -> list[int]:
    """Lengths of the runs of hidden frames."""
    return [len(list(run)) for hidden, run in groupby(mask.tolist()) if hidden]


def test_properties() -> None:
    lengths = [*range(2, 24), 50, 99, 100, 333]
    ratios = [0.001, 0.1, 0.5, 0.65, 0.9, 0.999]
    for length, ratio, span_length, seed in product(lengths, ratios, [1, 2, 5, 8, 500], range(3)):
        mask = draw(length, ratio, span_length, seed)
        hidden = int(mask.sum())
        span = min(span_length, length // 2)
        case = f"length {length}, ratio {ratio}, span {span_length}, seed {seed}"
        assert mask.shape == (length,), case
        assert mask.dtype == torch.bool, case
        assert 1 <= hidden < length, case
        assert min(spans(mask)) >= span, case
        # Reached, and overshot by less than a span.
        target = min(max(1, round(ratio * length)), length - 1)
        assert target <= hidden < target + span, case


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_coverage_of_long_clips_is_the_ratio(ratio: float) -> None:
    for seed in range(5):
        assert draw(2000, ratio, 8, seed).float().mean() == pytest.approx(ratio, abs=8 / 2000)


def test_every_part_of_a_clip_is_hidden_as_often() -> None:
    often = torch.stack([draw(80, 0.5, 8, seed) for seed in range(600)]).float().mean(dim=0)
    inner = often[8:-8]  # fewer spans reach the edges
    assert inner.min() > inner.mean() - 0.1
    assert inner.max() < inner.mean() + 0.1
    assert (often > 0).all()


def test_one_frame_stays_visible() -> None:
    assert draw(1, 0.9, 8).tolist() == [False]


def test_the_generator_alone_decides() -> None:
    torch.manual_seed(1)
    first = draw(100, 0.5, 8, seed=7)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert torch.equal(draw(100, 0.5, 8, seed=7), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(draw(100, 0.5, 8, seed=8), first)


@pytest.mark.parametrize(
    ("length", "ratio", "span_length"),
    [(0, 0.5, 8), (10, 0.5, 0), (10, 0.0, 8), (10, 1.0, 8), (10, float("nan"), 8)],
)
def test_arguments_out_of_range(length: int, ratio: float, span_length: int) -> None:
    with pytest.raises(ValueError, match="length, span_length, ratio: found"):
        draw(length, ratio, span_length)


def draw_bands(seed: int, **changes: object) -> torch.Tensor:
    options = {"feature_size": 20, "masks": 2, "share": 0.3, **changes}
    return draw_feature_mask(generator=torch.Generator().manual_seed(seed), **options)


def test_a_band_is_one_stretch_no_wider_than_its_share() -> None:
    widths = set()
    for seed in range(200):
        hidden = draw_bands(seed, masks=1)
        assert hidden.shape == (20,)
        assert hidden.dtype == torch.bool
        edges = int(hidden.int().diff().abs().sum())
        assert edges <= 2
        widths.add(int(hidden.sum()))
    assert widths == set(range(7))


def test_bands_repeat_after_the_period() -> None:
    found = 0
    for seed in range(50):
        hidden = draw_bands(seed, period=10)
        assert torch.equal(hidden[:10], hidden[10:])
        found += int(hidden.any())
    assert found > 30


def test_a_period_that_does_not_divide_the_features_is_an_error() -> None:
    with pytest.raises(ValueError, match="period: found 7, must divide the 20 features"):
        draw_bands(0, period=7)


def test_bands_follow_the_generator_alone() -> None:
    assert torch.equal(draw_bands(3), draw_bands(3))
    assert any(not torch.equal(draw_bands(3), draw_bands(seed)) for seed in range(4, 9))
    assert not draw_bands(0, masks=0).any()
