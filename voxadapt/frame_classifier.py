# SPDX-License-Identifier: Apache-2.0
"""The part that trains: adapter, pooler and linear layer over frozen frames.

Where layers of the encoder train as well, or a sum over them, they stand in front of the adapter.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from .adapters import (
    BottleneckAdapter,
    BottleneckAdapterConfig,
    FeatureStandardizer,
    WAPTransformer,
    WAPTransformerConfig,
)
from .adapters.saving import build_config
from .backbones import TunedLayers
from .layer_mix import LayerMix
from .pooling import POOLERS, Pooler, build_pooler
from .vector_standardizer import VectorStandardizer

Adapter = WAPTransformer | BottleneckAdapter | FeatureStandardizer


class FrameClassifier(nn.Module):
    """Adapter, pooler, dropout and linear layer, from a backbone's frames to logits.

    Args:
        adapter: A WAP-Transformer or a bottleneck, or a `FeatureStandardizer` where no adapter is
            wanted.
        pooler: Built by `voxadapt.pooling.build_pooler` for the adapter's output size.
        classes: Outputs ``C``: classes, of all label columns together, or dimensions.
        dropout: Dropout on the pooled vector.
        tuned_layers: The encoder's layers that train, where some do; the frames that come in are
            those of the frozen part below them.
        layer_mix: The sum over the encoder's layers, where the frames hold all of them.

    Raises:
        ValueError: A part was built for another feature size than the part before it gives.
    """

    def __init__(
        self,
        adapter: Adapter,
        pooler: Pooler,
        classes: int,
        dropout: float = 0.0,
        *,
        tuned_layers: TunedLayers | None = None,
        layer_mix: LayerMix | None = None,
    ) -> None:
        super().__init__()
        given = None if tuned_layers is None else tuned_layers.output_size
        for name, part in (("layer_mix", layer_mix), ("adapter", adapter)):
            if part is not None:
                if given not in (None, part.input_size):
                    raise ValueError(
                        f"{name}: takes {part.input_size} features, but gets {given}; build it for "
                        f"{given} features"
                    )
                given = part.output_size
        if pooler.input_size != adapter.output_size:
            raise ValueError(
                f"pooler: takes {pooler.input_size} features, but the adapter gives "
                f"{adapter.output_size}; build it with input_size={adapter.output_size}"
            )
        self.tuned_layers = tuned_layers
        self.layer_mix = layer_mix
        self.adapter = adapter
        self.pooler = pooler
        self.vector_standardizer: VectorStandardizer | None = None
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(pooler.output_size, classes)

    def forward(
        self,
        frames: Tensor,
        padding_mask: Tensor,
        span_mask: Tensor | None = None,
        feature_mask: Tensor | None = None,
    ) -> Tensor:
        """Map frames to logits.

        Args:
            frames: ``[B, T, D]`` float, as the backbone gives them.
            padding_mask: ``[B, T]`` bool, True = padding.
            span_mask: ``[B, T]`` bool, True = hidden from the adapter, while training; None hides
                nothing.
            feature_mask: ``[B, D']`` bool, True = feature of the adapter's input that stands at the
                corpus mean throughout the clip, while training; None hides nothing.

        Returns:
            ``[B, C]`` float.
        """
        frames = self.adapter_input(frames, padding_mask)
        if feature_mask is not None:
            frames = torch.where(feature_mask.unsqueeze(1), self._standardizer.mean, frames)
        pooled = self.pooler(self.adapter(frames, padding_mask, span_mask), padding_mask)  # [B, D']
        return self._classify(pooled)

    def with_weights(self, frames: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``[B, C]``, pooled vectors ``[B, D']`` and the pooler's weights ``[B, H, T]``."""
        frames = self.adapter_input(frames, padding_mask)
        pooled, weights = self.pooler.with_weights(self.adapter(frames, padding_mask), padding_mask)
        return self._classify(pooled), pooled, weights

    def _classify(self, pooled: Tensor) -> Tensor:
        if self.vector_standardizer is not None:
            pooled = self.vector_standardizer(pooled)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits

    def standardize_vectors(self, vectors: Tensor) -> None:
        """Standardise what comes to the linear layer, until `fold_standardizer`, while training.

        Behind a WAP-Transformer every feature is brought to unit variance. Without one, or with a
        bottleneck, which starts as none, the vector is of frames that are standardised already: how
        much its features vary from clip to clip says how much they tell, and all are divided by one
        number. Each way was the better one there, on clips held out for it.

        Args:
            vectors: ``[N, D']`` pooled vectors of clips of the training part.

        Raises:
            ValueError: The shape does not fit, or a value is not finite.
        """
        standardizer = VectorStandardizer(self.pooler.output_size)
        common_scale = not isinstance(self.adapter, WAPTransformer)
        standardizer.fit(vectors.cpu(), common_scale=common_scale)
        self.vector_standardizer = standardizer.to(self.linear.weight.device)

    def fold_standardizer(self) -> None:
        """Make the statistics of `standardize_vectors` part of the linear layer, if there are any.

        A saved model then needs no more than adapter, pooler and linear layer.
        """
        if self.vector_standardizer is not None:
            self.vector_standardizer.fold_into(self.linear)
            self.vector_standardizer = None

    def adapter_input(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """What the adapter sees ``[B, T, D']`` of the backbone's frames ``[B, T, D]``."""
        if self.tuned_layers is not None:
            frames = self.tuned_layers(frames, padding_mask)
        if self.layer_mix is not None:
            frames = self.layer_mix(frames, padding_mask)
        return frames

    @property
    def _standardizer(self) -> FeatureStandardizer:
        adapter = self.adapter
        return adapter if isinstance(adapter, FeatureStandardizer) else adapter.standardize

    def frozen_tensors(self) -> dict[str, Tensor]:
        """The encoder's own weights that do not train, by name; its checkpoint has them."""
        if self.tuned_layers is None:
            return {}
        trained = self.tuned_layers.trained_names
        return {
            f"tuned_layers.{name}": tensor
            for name, tensor in self.tuned_layers.state_dict(keep_vars=True).items()
            if name not in trained
        }

    def trained_state(self) -> dict[str, Tensor]:
        """The state dict without `frozen_tensors`: all that a saved model has to hold."""
        frozen = self.frozen_tensors().keys()
        return {name: value for name, value in self.state_dict().items() if name not in frozen}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy what `trained_state` gave into this module.

        Raises:
            ValueError: A tensor is missing or left over.
        """
        different = sorted(self.trained_state().keys() ^ state.keys())
        if different:
            raise ValueError(f"state: missing or unexpected tensors {different[:5]}")
        # Not strict for the frozen tensors only: all others have just been compared.
        self.load_state_dict(state, strict=False)

    def config(self) -> dict[str, Any]:
        """What `build_frame_classifier` needs to build this module again, JSON-able."""
        adapter_config = (
            {"input_size": self.adapter.input_size}
            if isinstance(self.adapter, FeatureStandardizer)
            else asdict(self.adapter.config)
        )
        pooler_name = next(name for name, kind in POOLERS.items() if type(self.pooler) is kind)
        mix = {} if self.layer_mix is None else {"layer_mix": self.layer_mix.config()}
        return {
            **mix,
            "adapter": {"class": type(self.adapter).__name__, "config": adapter_config},
            "pooler": {"name": pooler_name, **self.pooler.config()},
            "classes": self.linear.out_features,
            "dropout": self.dropout.p,
        }


def build_frame_classifier(
    config: dict[str, Any], tuned_layers: TunedLayers | None = None
) -> FrameClassifier:
    """Build a `FrameClassifier` from what its `config` gave.

    Args:
        config: What it gave.
        tuned_layers: The encoder's layers that train, which the config does not tell of.

    Raises:
        ValueError: The adapter's class or a field is unknown.
    """
    adapter_class, adapter_config = config["adapter"]["class"], config["adapter"]["config"]
    adapter: Adapter
    if adapter_class == "WAPTransformer":
        adapter = WAPTransformer(build_config(WAPTransformerConfig, adapter_config))
    elif adapter_class == "BottleneckAdapter":
        adapter = BottleneckAdapter(build_config(BottleneckAdapterConfig, adapter_config))
    elif adapter_class == "FeatureStandardizer":
        adapter = FeatureStandardizer(**adapter_config)
    else:
        raise ValueError(
            f"adapter class: found {adapter_class!r}, allowed: 'WAPTransformer', "
            "'BottleneckAdapter', 'FeatureStandardizer'"
        )
    return FrameClassifier(
        adapter,
        build_pooler(**config["pooler"]),
        config["classes"],
        config["dropout"],
        tuned_layers=tuned_layers,
        layer_mix=LayerMix(**config["layer_mix"]) if "layer_mix" in config else None,
    )
