# SPDX-License-Identifier: Apache-2.0
"""Groups are made before what holds them, and what they refuse is named in full."""

import dataclasses

import pytest

from voxadapt.recipes.running.option_groups import build_options, name_in_full


@dataclasses.dataclass
class Innermost:
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate: found {self.rate}, must be 0 or more")


@dataclasses.dataclass
class Inner:
    deep: Innermost
    size: int = 1


@dataclasses.dataclass
class Options:
    inner: Inner
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"--seed: found {self.seed}, must be 0 or more")


def test_groups_are_made_at_all_depths() -> None:
    values = {"inner": {"deep": {"rate": 2.0}, "size": 3}, "seed": 4}
    assert build_options(Options, values) == Options(Inner(Innermost(2.0), 3), 4)


def test_what_is_refused_is_named_once_and_in_full() -> None:
    with pytest.raises(ValueError, match=r"^--inner\.deep\.rate: found -1, must be 0 or more$"):
        build_options(Options, {"inner": {"deep": {"rate": -1}}})
    with pytest.raises(ValueError, match=r"^--seed: found -1, must be 0 or more$"):
        build_options(Options, {"inner": {"deep": {}}, "seed": -1})


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("std: found nan", "--collapse.std: found nan"),
        ("collapse.std: found nan", "--collapse.std: found nan"),
        ("collapse: found nothing: wrong", "--collapse: found nothing: wrong"),
        ("these do not fit: a, b", "--collapse: these do not fit: a, b"),
    ],
)
def test_a_group_may_name_itself_or_not(message: str, named: str) -> None:
    assert name_in_full(message, "collapse", ["std"]) == named
