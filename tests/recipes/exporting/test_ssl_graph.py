# SPDX-License-Identifier: Apache-2.0
"""wav2vec 2.0 and its relatives as graphs: each clip in a batch as torch has it alone."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]
KINDS = (
    "hubert-group",
    "hubert-stable",
    "hubert-batch-norm",
    "wav2vec2-group",
    "wav2vec2-stable",
    "mms",
    "wavlm-group",
    "wavlm-stable",
    "unispeech-sat-group",
    "data2vec",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_exact_in_a_batch(
    kind: str, tiny_classifier: Make, assert_exact: Callable[[Any], None]
) -> None:
    assert_exact(tiny_classifier(kind))


@pytest.mark.parametrize("layer", [0, 2, "mean", "weighted"])
def test_every_choice_of_layers_is_exact_in_a_batch(
    layer: int | str, tiny_classifier: Make, assert_exact: Callable[[Any], None]
) -> None:
    assert_exact(tiny_classifier("wavlm-stable", layer=layer))


@pytest.mark.parametrize("normalize", [False, True])
def test_normalisation_of_waveforms_is_in_the_graph(
    normalize: bool, tiny_classifier: Make, assert_exact: Callable[[Any], None]
) -> None:
    assert_exact(tiny_classifier("hubert-group", normalize=normalize))
