# SPDX-License-Identifier: Apache-2.0
"""Attention with a bias over all queries at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from voxadapt.backbones.attention import attend
from voxadapt.backbones.ssl_encoder import _NAMES
from voxadapt.backbones.transformer_layers import transformer_layer
from voxadapt.recipes.exporting.attention_graph import attend_at_once, graph_layer


def test_it_is_attention_in_blocks_without_the_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 7, 4, generator=generator)
    scores = torch.randn(2, 2, 7, 7, generator=generator)
    lengths = torch.tensor([7, 3])
    found = attend_at_once(query, key, value, lengths, lambda start, stop: scores[:, :, start:stop])
    expected = attend(query, key, value, lengths, lambda start, stop: scores[:, :, start:stop])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("kind", "pre_norm"), [("wavlm-group", False), ("wavlm-stable", True)])
@torch.no_grad()
def test_a_layer_with_a_bias_is_the_backbones(
    kind: str, pre_norm: bool, tiny_backbone: Callable[..., Any]
) -> None:
    encoder = tiny_backbone(kind).encoder
    assert encoder.pre_norm is pre_norm
    hidden_states = torch.randn(2, 9, 16)
    scores = torch.randn(2, 2, 9, 9)
    given = {"heads": 2, "pre_norm": pre_norm, "bias": lambda _: lambda a, b: scores[:, :, a:b]}
    arguments = (encoder.layers[1], _NAMES, hidden_states, torch.tensor([9, 4]))
    torch.testing.assert_close(
        graph_layer(*arguments, **given), transformer_layer(*arguments, **given)
    )
