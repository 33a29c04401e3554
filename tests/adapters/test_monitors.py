# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from voxadapt.adapters import CollapseError, CollapseThresholds
from voxadapt.adapters.monitors import check_collapse, second_moments, spread

HEALTHY = {
    "student_std": 0.6,
    "teacher_std": 0.5,
    "student_effective_rank": 40.0,
    "teacher_effective_rank": 30.0,
    "prototype_perplexity": 60.0,
    "attribute_perplexity": 50.0,
    "target_sharpness": 0.3,
    # No sign of collapse, however low.
    "loss": 0.0,
    "target_entropy": 0.0,
    "hidden_share": 0.0,
}


def make_frames(count: int = 500) -> torch.Tensor:
    """Frames of unequal and correlated features, away from zero."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator) * torch.tensor([2.0, 1.0, 0.5, 0.2, 0.1, 0.0])
    return torch.randn(count, 6, generator=generator) @ mixing.T + 1.5


def test_spread_against_numpy() -> None:
    frames = make_frames()
    std, effective_rank = spread(second_moments(frames))
    values = frames.double().numpy()
    assert std == pytest.approx(values.std(axis=0).mean(), rel=1e-4)
    eigenvalues = np.linalg.eigvalsh(np.cov(values.T, bias=True)).clip(min=1e-30)
    shares = eigenvalues / eigenvalues.sum()
    assert effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-3)
    assert 1 < effective_rank < 5


def test_known_spreads() -> None:
    # Every corner of a cube once: all directions alike.
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    assert spread(second_moments(corners)) == pytest.approx((1.0, 4.0))
    line = torch.linspace(-1, 1, 101)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    assert spread(second_moments(line))[1] == pytest.approx(1.0, abs=1e-3)


def test_moments_add_up_over_any_split() -> None:
    frames = make_frames()
    whole = second_moments(frames)
    parts = [second_moments(part) for part in frames.split([1, 0, 120, 379])]
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), whole, rtol=1e-5, atol=1e-2)
    assert spread(torch.stack(parts).sum(dim=0)) == pytest.approx(spread(whole), rel=1e-4)
    assert whole[-1, -1] == 500


def test_half_precision_frames_are_counted_in_single() -> None:
    frames = make_frames(3000).bfloat16()
    assert spread(second_moments(frames)) == spread(second_moments(frames.float()))


def test_collapsed_frames_show() -> None:
    constant = torch.randn(6).expand(400, 6)
    std, _ = spread(second_moments(constant))
    assert std < CollapseThresholds().std
    line = torch.randn(400, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 6)
    std, effective_rank = spread(second_moments(line))
    assert std > CollapseThresholds().std
    assert effective_rank < CollapseThresholds().effective_rank


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_frames_that_are_not_finite_give_nan(value: float) -> None:
    frames = make_frames()
    frames[3, 2] = value
    assert all(map(math.isnan, spread(second_moments(frames))))


def test_no_frames() -> None:
    std, _ = spread(second_moments(torch.zeros(0, 6)))
    assert std == 0


def test_healthy_values_pass() -> None:
    check_collapse(HEALTHY, CollapseThresholds())
    check_collapse({}, CollapseThresholds())
    limits = CollapseThresholds()
    check_collapse({"teacher_std": limits.std}, limits)


@pytest.mark.parametrize("name", [name for name in HEALTHY if HEALTHY[name] > 0])
@pytest.mark.parametrize("value", [0.005, float("nan")])
def test_every_sign_stops_the_run(name: str, value: float) -> None:
    with pytest.raises(CollapseError, match=f"collapsed: {name} is {value}.*Lower the learning"):
        check_collapse({**HEALTHY, name: value}, CollapseThresholds())


def test_what_to_change_goes_by_the_sign() -> None:
    told = {}
    for name in ("target_sharpness", "prototype_perplexity", "attribute_perplexity", "teacher_std"):
        with pytest.raises(CollapseError) as caught:
            check_collapse({name: 0.001}, CollapseThresholds())
        told[name] = str(caught.value)
    assert "lower the teacher's temperature" in told["target_sharpness"]
    assert "raise the teacher's temperature" in told["prototype_perplexity"]
    assert "refit the codebook more often" in told["attribute_perplexity"]
    for name in ("attribute_perplexity", "teacher_std"):
        assert "temperature" not in told[name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_thresholds_are_numbers_and_below_0_stop_nothing(value: float) -> None:
    with pytest.raises(ValueError, match=r"collapse\.effective_rank: found .*a finite number"):
        CollapseThresholds(effective_rank=value)
    off = CollapseThresholds(std=-1, effective_rank=-1, perplexity=-1, sharpness=-1)
    check_collapse(dict.fromkeys(HEALTHY, 0.0), off)


def test_each_monitor_has_its_own_threshold() -> None:
    limits = CollapseThresholds(std=1.0, effective_rank=2.0, perplexity=3.0, sharpness=4.0)
    assert limits.limit("teacher_std") == 1.0
    assert limits.limit("student_effective_rank") == 2.0
    assert limits.limit("attribute_perplexity") == 3.0
    assert limits.limit("target_sharpness") == 4.0
    assert limits.limit("target_entropy") is None
    assert limits.limit("std") is None


def test_all_signs_are_named_with_their_own_limits() -> None:
    limits = CollapseThresholds(std=0.7, effective_rank=35.0, perplexity=55.0)
    with pytest.raises(CollapseError) as caught:
        check_collapse(HEALTHY, limits)
    for sign in (
        "student_std is 0.6 (healthy: above 0.7)",
        "teacher_std is 0.5 (healthy: above 0.7)",
        "teacher_effective_rank is 30 (healthy: above 35)",
        "attribute_perplexity is 50 (healthy: above 55)",
    ):
        assert sign in str(caught.value)
    assert "student_effective_rank" not in str(caught.value)
    assert "prototype_perplexity" not in str(caught.value)
