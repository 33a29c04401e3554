# SPDX-License-Identifier: Apache-2.0
"""Wav2Vec2-BERT as a graph."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize("layer", ["last", 1, "weighted"])
def test_it_is_exact_in_a_batch(
    layer: int | str, tiny_classifier: Make, assert_exact: Callable[[Any], None]
) -> None:
    assert_exact(tiny_classifier("wav2vec2-bert", layer=layer))
