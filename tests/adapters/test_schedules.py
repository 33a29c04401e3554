# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from voxadapt.adapters.schedules import cosine, linear, one_cycle

STEPS = [step / 200 for step in range(201)]


def test_cosine() -> None:
    assert cosine(0.0, 0.996, 1.0) == pytest.approx(0.996)
    assert cosine(0.25, 0.0, 1.0) == pytest.approx(0.5 - math.sqrt(0.5) / 2)
    assert cosine(0.5, 0.996, 1.0) == pytest.approx(0.998)
    assert cosine(1.0, 0.996, 1.0) == 1.0
    values = [cosine(step, 3.0, -1.0) for step in STEPS]
    assert values == sorted(values, reverse=True)


def test_linear() -> None:
    assert [linear(share, 0.04, 0.07) for share in (0.0, 0.5, 1.0)] == pytest.approx(
        [0.04, 0.055, 0.07]
    )
    assert linear(1.0, 0.1, 0.3) == 0.3


def test_one_cycle() -> None:
    assert one_cycle(0.0, warmup=0.1) == pytest.approx(0.04)
    assert one_cycle(0.05, warmup=0.1) == pytest.approx(0.52)
    assert one_cycle(0.1, warmup=0.1) == pytest.approx(1.0)
    assert one_cycle(0.55, warmup=0.1) == pytest.approx(0.5)
    assert one_cycle(1.0, warmup=0.1) == pytest.approx(0.0)
    assert one_cycle(1.0, warmup=0.1, final=0.2) == pytest.approx(0.2)
    assert one_cycle(0.0, warmup=0.0) == pytest.approx(1.0)
    values = [one_cycle(step, warmup=0.25, final=0.1) for step in STEPS]
    assert values[:51] == sorted(values[:51])
    assert values[50:] == sorted(values[50:], reverse=True)
    assert max(values) == values[50] == 1.0


@pytest.mark.parametrize(("outside", "inside"), [(-0.5, 0.0), (1.5, 1.0)])
def test_outside_the_run_the_ends_hold(outside: float, inside: float) -> None:
    assert linear(outside, 1.0, 2.0) == linear(inside, 1.0, 2.0)
    assert cosine(outside, 1.0, 2.0) == cosine(inside, 1.0, 2.0)
    assert one_cycle(outside, warmup=0.1) == one_cycle(inside, warmup=0.1)
