# SPDX-License-Identifier: Apache-2.0
"""A copy of a module over the same parts."""

from __future__ import annotations

from torch import nn

from voxadapt.backbones.encoder_cut import twin


def test_the_copy_has_the_parts_and_can_be_given_others() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    other = twin(module)
    assert type(other) is nn.Sequential
    assert other[0] is module[0]
    other[0] = nn.Identity()
    assert isinstance(module[0], nn.Linear)
    assert list(other.state_dict()) == ["1.weight", "1.bias"]


def test_the_copy_may_have_some_parts_only() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    other = twin(module, ("1",))
    assert [name for name, _ in other.named_children()] == ["1"]
    assert len(module) == 2
