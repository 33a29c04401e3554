# SPDX-License-Identifier: Apache-2.0
"""What of the encoder trains, as the options say it."""

from typing import Any

import pytest

from voxadapt.backbones import Lora, OpenLayers
from voxadapt.recipes.finetuning.options import FinetuneOptimizerOptions, FinetuneOptions, tuning_of

HUBERT = "facebook/hubert-base-ls960"


def test_nothing_of_the_encoder_trains_unless_it_is_asked_for() -> None:
    assert tuning_of(FinetuneOptions()) is None
    assert tuning_of(FinetuneOptions(backbone=HUBERT)) is None
    assert tuning_of(FinetuneOptions(backbone=HUBERT, lora="r=4")) == Lora(4, 8.0)
    assert tuning_of(FinetuneOptions(backbone=HUBERT, unfreeze_top=2)) == OpenLayers(2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora": "r=4", "unfreeze_top": 1}, "--lora and --unfreeze-top: found both"),
        ({"lora": "r=4", "backbone": "fbank"}, "^--lora: the backbone is fbank"),
        ({"unfreeze_top": 1, "backbone": "fbank"}, "^--unfreeze-top: the backbone is fbank"),
        ({"unfreeze_top": 0}, "--unfreeze-top: found 0, must be at least 1"),
        ({"lora": "rank=4"}, "Did you mean 'r'"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneOptions(**{"backbone": HUBERT, **values})


@pytest.mark.parametrize("name", ["encoder_factor", "layer_factor"])
def test_no_learning_rate_is_below_zero(name: str) -> None:
    values: dict[str, Any] = {name: -0.1}
    with pytest.raises(ValueError, match=name):
        FinetuneOptimizerOptions(**values)
