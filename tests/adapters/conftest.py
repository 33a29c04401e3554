# SPDX-License-Identifier: Apache-2.0
"""A tiny adapter with nothing neutral in it, and padded batches of made-up frames."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig

FEATURES = 10


@pytest.fixture
def tiny_config() -> WAPTransformerConfig:
    return WAPTransformerConfig(
        input_size=FEATURES,
        width=16,
        layers=3,
        heads=2,
        feedforward=24,
        dropout=0.0,
        position_kernel=5,
        position_groups=4,
    )


@pytest.fixture
def make_adapter(tiny_config: WAPTransformerConfig) -> Callable[..., WAPTransformer]:
    """Build an adapter in eval mode whose layer weights, norms and statistics all matter."""

    def make(config: WAPTransformerConfig = tiny_config, seed: int = 0) -> WAPTransformer:
        torch.manual_seed(seed)
        adapter = WAPTransformer(config)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        adapter.standardize.set_statistics(
            torch.randn(config.input_size) + 1, torch.rand(config.input_size) + 0.5
        )
        return adapter.eval()

    return make


@pytest.fixture
def make_batch() -> Callable[..., tuple[Tensor, Tensor]]:
    """Build frames `[B, T, D]`, zero on padding, and their padding mask."""

    def make(lengths: Sequence[int], seed: int = 0, size: int = FEATURES) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        frames = 2 * torch.randn(len(lengths), max(lengths), size, generator=generator) + 1
        padding_mask = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
        return frames.masked_fill(padding_mask.unsqueeze(-1), 0.0), padding_mask

    return make
