# SPDX-License-Identifier: Apache-2.0
"""From a backbone and the options to the model that a fine-tuning run trains."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from voxadapt.backbones import Backbone, TunedLayers, split_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.layer_mix import LayerMix
from voxadapt.pooling import POOLERS, build_pooler
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.finetuning.adapter_choice import build_adapter
from voxadapt.recipes.finetuning.options import FinetuneOptions, tuning_of
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.running.frame_batches import STATISTICS_FRAMES, corpus_statistics

# Frames that statistics are taken from where layers have to be run for them: 7 minutes of audio.
TUNED_STATISTICS_FRAMES = 20_000


def frozen_part(backbone: Backbone, options: FinetuneOptions) -> Backbone:
    """The part of a backbone that does not train, whose frames are cached: mostly all of it.

    Raises:
        BackboneError: What is to train cannot be cut off from it.
    """
    tuning = tuning_of(options)
    if tuning is None:
        return backbone
    precision = usable_precision(options.precision)
    return split_backbone(backbone, tuning, precision=precision)[0]


def build_model(
    choice: str,
    options: FinetuneOptions,
    backbone: Backbone,
    store: FeatureStore,
    train: Sequence[int],
    classes: int,
    seed: int,
    device: torch.device,
) -> FrameClassifier:
    """Build the untrained model of one run.

    Args:
        choice: The adapter, from `choose_adapter`.
        options: The run's options.
        backbone: The whole backbone.
        store: Frames of its frozen part.
        train: Clips of the training part, the only ones that statistics may come from.
        classes: Outputs of the linear layer: classes, or dimensions.
        seed: The run's seed.
        device: Where the model goes.
    """
    tuning, tuned_layers = tuning_of(options), None
    if tuning is not None:
        # Of its own, so that adapter and head start as they do where nothing is tuned.
        torch.manual_seed(stable_seed(seed, "tuning"))
        tuned_layers = split_backbone(backbone, tuning)[1].to(device)
    layers = backbone.spec.layer_outputs
    mean, std = _statistics(store, train, tuned_layers, layers, stable_seed(seed, "statistics"))
    feature_size, layer_mix = backbone.spec.feature_size, None
    if layers > 1:
        feature_size //= layers
        layer_mix = LayerMix(layers, feature_size)
        layer_mix.standardize.set_statistics(mean, std)
        # What comes out is on a scale already, and on another once the weights have moved.
        mean, std = torch.zeros(feature_size), torch.ones(feature_size)
    torch.manual_seed(stable_seed(seed, "initialisation"))
    adapter = build_adapter(choice, options, feature_size, (mean, std))
    pooler = build_pooler(options.pool, adapter.output_size, **pooler_options(options))
    model = FrameClassifier(
        adapter,
        pooler,
        classes,
        options.head.dropout,
        tuned_layers=tuned_layers,
        layer_mix=layer_mix,
    )
    return model.to(device)


def pooler_options(options: FinetuneOptions) -> dict[str, int]:
    """The options of the chosen pooler that were set.

    Raises:
        UsageError: An option that this pooler does not have.
    """
    sizes = ("heads", "output_size", "attention_size", "head_size")
    given = {name: getattr(options.head, name) for name in sizes}
    given = {name: size for name, size in given.items() if size is not None}
    allowed = set(inspect.signature(POOLERS[options.pool]).parameters) & set(sizes)
    if given.keys() - allowed:
        wrong = sorted(given.keys() - allowed)[0]
        raise UsageError(
            f"--head.{wrong}: the {options.pool!r} pooler has no such option; it has "
            f"{', '.join(sorted(allowed))}"
        )
    return given


class _TunedFrames:
    """The frames of a store as untrained layers above them give them."""

    def __init__(self, store: FeatureStore, tuned_layers: TunedLayers) -> None:
        self.store = store
        self.tuned_layers = tuned_layers
        self.feature_size = tuned_layers.output_size

    @torch.no_grad()
    def frames(self, index: int) -> np.ndarray:
        """Frames ``[T, D]`` of a clip."""
        device = next(self.tuned_layers.parameters()).device
        frames = torch.from_numpy(np.array(self.store.frames(index), dtype=np.float32))[None]
        padding_mask = torch.zeros(frames.shape[:2], dtype=torch.bool, device=device)
        return self.tuned_layers.eval()(frames.to(device), padding_mask)[0].cpu().numpy()


def _statistics(
    store: FeatureStore,
    train: Sequence[int],
    tuned_layers: TunedLayers | None,
    layers: int,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    source: Any = store
    max_frames = STATISTICS_FRAMES // layers  # of all layers together
    if tuned_layers is not None:
        source, max_frames = _TunedFrames(store, tuned_layers), TUNED_STATISTICS_FRAMES
    return corpus_statistics(source, train, seed=seed, max_frames=max_frames)
