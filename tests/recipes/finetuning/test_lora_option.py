# SPDX-License-Identifier: Apache-2.0
"""The text of ``--lora``."""

import pytest

from voxadapt.backbones import Lora
from voxadapt.recipes.finetuning.lora_option import parse_lora


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r=8", Lora(8, 16.0, 0.0)),
        ("r=8,alpha=4", Lora(8, 4.0, 0.0)),
        ("dropout=0.05, r=2", Lora(2, 4.0, 0.05)),
        ("alpha=0.5,dropout=0,r=1", Lora(1, 0.5, 0.0)),
    ],
)
def test_what_is_left_out_has_a_default(text: str, expected: Lora) -> None:
    assert parse_lora(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no ''"),
        ("8", "there is no '8' in it; it takes r, alpha, dropout"),
        ("rank=8", "Did you mean 'r'"),
        ("r=8,alfa=2", "Did you mean 'alpha'"),
        ("r=8,drop=0.1", "Did you mean 'dropout'"),
        ("alpha=16", "r, the rank, is missing"),
        ("r", "r needs one value"),
        ("r=4,r=8", "r needs one value"),
        ("r=8.5", r"r is '8\.5', must be a whole number"),
        ("r=8,alpha=high", "alpha is 'high', must be a number"),
        ("r=0", "r is 0"),
        ("r=-1", "r is -1"),
        ("r=8,alpha=0", "alpha is 0"),
        ("r=8,alpha=nan", "alpha is nan"),
        ("r=8,dropout=1", "dropout is 1"),
    ],
)
def test_what_it_cannot_be_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse_lora(text)
    assert str(raised.value).startswith("--lora ")
