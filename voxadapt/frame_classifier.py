# SPDX-License-Identifier: Apache-2.0
"""The part that trains: adapter, pooler and linear layer over frozen frames."""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from .adapters import FeatureStandardizer, WAPTransformer, WAPTransformerConfig
from .adapters.saving import build_config
from .pooling import POOLERS, Pooler, build_pooler

Adapter = WAPTransformer | FeatureStandardizer


class FrameClassifier(nn.Module):
    """Adapter, pooler, dropout and linear layer, from frames to logits.

    Args:
        adapter: A WAP-Transformer, or a `FeatureStandardizer` where no adapter is wanted.
        pooler: Built by `voxadapt.pooling.build_pooler` for the adapter's output size.
        classes: Classes ``C``.
        dropout: Dropout on the pooled vector.

    Raises:
        ValueError: The pooler was built for another feature size.
    """

    def __init__(
        self, adapter: Adapter, pooler: Pooler, classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if pooler.input_size != adapter.output_size:
            raise ValueError(
                f"pooler: takes {pooler.input_size} features, but the adapter gives "
                f"{adapter.output_size}; build it with input_size={adapter.output_size}"
            )
        self.adapter = adapter
        self.pooler = pooler
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(pooler.output_size, classes)

    def forward(
        self, frames: Tensor, padding_mask: Tensor, span_mask: Tensor | None = None
    ) -> Tensor:
        """Map frames to logits.

        Args:
            frames: ``[B, T, D]`` float, as the backbone gives them.
            padding_mask: ``[B, T]`` bool, True = padding.
            span_mask: ``[B, T]`` bool, True = hidden from the adapter, while training; None hides
                nothing.

        Returns:
            ``[B, C]`` float.
        """
        pooled = self.pooler(self.adapter(frames, padding_mask, span_mask), padding_mask)  # [B, D']
        return self.linear(self.dropout(pooled))

    def with_weights(self, frames: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``[B, C]``, pooled vectors ``[B, D']`` and the pooler's weights ``[B, H, T]``."""
        pooled, weights = self.pooler.with_weights(self.adapter(frames, padding_mask), padding_mask)
        return self.linear(self.dropout(pooled)), pooled, weights

    def config(self) -> dict[str, Any]:
        """What `build_frame_classifier` needs to build this module again, JSON-able."""
        adapter_config = (
            asdict(self.adapter.config)
            if isinstance(self.adapter, WAPTransformer)
            else {"input_size": self.adapter.input_size}
        )
        pooler_name = next(name for name, kind in POOLERS.items() if type(self.pooler) is kind)
        return {
            "adapter": {"class": type(self.adapter).__name__, "config": adapter_config},
            "pooler": {"name": pooler_name, **self.pooler.config()},
            "classes": self.linear.out_features,
            "dropout": self.dropout.p,
        }


def build_frame_classifier(config: dict[str, Any]) -> FrameClassifier:
    """Build a `FrameClassifier` from what its `config` gave.

    Raises:
        ValueError: The adapter's class or a field is unknown.
    """
    adapter_class, adapter_config = config["adapter"]["class"], config["adapter"]["config"]
    adapter: Adapter
    if adapter_class == "WAPTransformer":
        adapter = WAPTransformer(build_config(WAPTransformerConfig, adapter_config))
    elif adapter_class == "FeatureStandardizer":
        adapter = FeatureStandardizer(**adapter_config)
    else:
        raise ValueError(
            f"adapter class: found {adapter_class!r}, allowed: 'WAPTransformer', "
            "'FeatureStandardizer'"
        )
    return FrameClassifier(
        adapter, build_pooler(**config["pooler"]), config["classes"], config["dropout"]
    )
