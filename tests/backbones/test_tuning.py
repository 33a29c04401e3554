# SPDX-License-Identifier: Apache-2.0
"""What of an encoder is to train, as it is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voxadapt.backbones import (
    BackboneError,
    Lora,
    OpenLayers,
    Tuning,
    tuning_config,
    tuning_from_config,
)


@pytest.mark.parametrize("tuning", [Lora(4, 8.0, 0.1), Lora(1, 1.0), OpenLayers(2)])
def test_its_config_gives_it_back(tuning: Tuning) -> None:
    assert tuning_from_config(json.loads(json.dumps(tuning_config(tuning)))) == tuning


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r": 0, "alpha": 1.0}, "r is 0"),
        ({"r": 1.5, "alpha": 1.0}, r"r is 1\.5"),
        ({"r": True, "alpha": 1.0}, "r is True"),
        ({"r": 1, "alpha": 0.0}, r"alpha is 0\.0"),
        ({"r": 1, "alpha": float("inf")}, "alpha is inf"),
        ({"r": 1, "alpha": 1.0, "dropout": 1.0}, r"dropout is 1\.0"),
        ({"r": 1, "alpha": 1.0, "dropout": -0.1}, r"dropout is -0\.1"),
    ],
)
def test_values_that_lora_cannot_have_are_refused(values: Any, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        Lora(**values)


@pytest.mark.parametrize("top", [0, -1, 1.0, "1"])
def test_no_other_than_a_count_of_layers_is_taken(top: Any) -> None:
    with pytest.raises(BackboneError, match="at least 1"):
        OpenLayers(top)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": "dora", "r": 1}, "method 'dora', but one of lora, layers"),
        ({"r": 1}, "method None"),
        ({"method": "layers"}, "top"),
        ({"method": "lora", "r": 1, "alpha": 1.0, "top": 2}, "top"),
        ({"method": "layers", "top": 0}, "top is 0"),
    ],
)
def test_a_config_that_was_tampered_with_is_refused(config: Any, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        tuning_from_config(config)
