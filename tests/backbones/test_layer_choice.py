# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.backbones import BackboneError
from voxadapt.backbones.layer_choice import choose_layer


@pytest.mark.parametrize(
    ("layer", "expected"), [(0, 0), (12, 12), ("7", 7), ("0", 0), ("last", "last")]
)
def test_allowed(layer, expected):
    assert choose_layer(layer, 12, "it") == expected


@pytest.mark.parametrize("layer", [13, -1, "13", "-1", "", "top", 1.0, True, None])
def test_refused(layer):
    with pytest.raises(BackboneError, match="it has 12 layers"):
        choose_layer(layer, 12, "it")
