# SPDX-License-Identifier: Apache-2.0
"""The layers of an encoder that train, over the cached frames of those below."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .base import BackboneError
from .layer_choice import combine, layer_outputs
from .ssl_encoder import SSLEncoder
from .tuning import Lora, OpenLayers, Tuning
from .wav2vec2_bert import Wav2Vec2BertEncoder
from .whisper_encoder import WhisperEncoder


class TunedLayers(nn.Module):
    """The layers of an encoder that train, over the frames of the frozen part below them.

    There is no dropout but LoRA's own: the layers compute what the frozen encoder would, and do so
    exactly until they are trained. A clip gives the same frames alone and in a padded batch.

    Clips longer than Whisper's window of 30 s are cut in windows here too; unlike in the frozen
    encoder, the last of them holds only what the others left, and does not reach back to be full.

    `split_backbone` makes it.

    Args:
        encoder: The upper part of a frozen encoder's `cut`; its layers are used where they are.
        tuning: What trains.
        lora_targets: Names of the linear layers that LoRA is put on.
        frozen_layers: How many layers lie below.
        backbone_config: Of the whole backbone.
        backbone_fingerprint: Of the whole backbone, untrained.

    Attributes:
        trained_names: Names of the parameters that train; all else is the checkpoint's.
        input_size: Features of a frame that comes in.
        output_size: Features of a frame that goes out; of all layers for `weighted`.
    """

    def __init__(
        self,
        encoder: SSLEncoder | Wav2Vec2BertEncoder | WhisperEncoder,
        tuning: Tuning,
        *,
        lora_targets: tuple[str, ...],
        frozen_layers: int,
        backbone_config: Mapping[str, Any],
        backbone_fingerprint: str,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.tuning = tuning
        self.lora_targets = lora_targets
        self.frozen_layers = frozen_layers
        self.backbone_config = dict(backbone_config)
        self.backbone_fingerprint = backbone_fingerprint
        self.input_size = encoder.width
        self.output_size = encoder.width * layer_outputs(encoder.layer, encoder.depth)
        self.window_frames = getattr(encoder, "window_frames", None)
        if isinstance(tuning, Lora):
            _add_lora(encoder.layers, tuning, lora_targets)
        else:
            _open(encoder.layers, whole=frozen_layers == 0)
        self.trained_names = frozenset(
            name for name, parameter in self.named_parameters() if parameter.requires_grad
        )
        self.train(self.training)

    def train(self, mode: bool = True) -> TunedLayers:
        """Switch LoRA's dropout; everything else stays in eval mode."""
        super().train(False)
        self.training = mode
        for name, module in self.named_modules():
            if "lora_dropout" in name:
                module.train(mode)
        return self

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """Run the layers.

        Args:
            frames: `[B, T, D]` float, as the frozen part gives them; the padding may hold anything.
            padding_mask: `[B, T]` bool, True = padding.

        Returns:
            `[B, T, D']` float32, zero on padding, as the whole backbone gives them.

        Raises:
            ValueError: The frames have another size.
        """
        if frames.ndim != 3 or frames.shape[-1] != self.input_size:
            raise ValueError(
                f"frames has shape {list(frames.shape)}, but [B, T, {self.input_size}] is needed: "
                "the frames of the frozen part that split_backbone gave."
            )
        # Not by a product: NaN * 0 is NaN.
        frames = frames.masked_fill(padding_mask[..., None], 0.0)
        size = self.window_frames or frames.shape[1]
        windows = zip(frames.split(size, dim=1), padding_mask.split(size, dim=1), strict=True)
        tuned = torch.cat([self._run(*window) for window in windows], dim=1)
        return tuned.float().masked_fill(padding_mask[..., None], 0.0)

    def _run(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        # A clip that ended in an earlier window attends to one frame of zeros here: not every
        # kernel of attention takes a clip without a key.
        lengths = (~padding_mask).sum(dim=1).clamp(min=1)  # [B]
        states = self.encoder.states(frames, lengths)
        return combine(states, self.encoder.layer, self.encoder.final)

    def merged(self) -> TunedLayers:
        """Fold LoRA into a copy of the layers, which then need neither it nor peft.

        Returns:
            The same function, as opened layers.

        Raises:
            BackboneError: There is no LoRA.
        """
        if not isinstance(self.tuning, Lora):
            raise BackboneError(
                "There is no LoRA to merge: the opened layers are trained and saved whole already. "
                "Use the model as it is."
            )
        encoder = copy.deepcopy(self.encoder)
        _fold_lora(encoder.layers)
        folded = TunedLayers(
            encoder,
            OpenLayers(encoder.depth),
            lora_targets=self.lora_targets,
            frozen_layers=self.frozen_layers,
            backbone_config=self.backbone_config,
            backbone_fingerprint=self.backbone_fingerprint,
        )
        return folded.train(self.training)


def _add_lora(layers: nn.Module, tuning: Lora, targets: tuple[str, ...]) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=tuning.r,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=list(targets),
        bias="none",
    )
    inject_adapter_in_model(config, layers)


def _fold_lora(layers: nn.Module) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(layers.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            parent, _, own = name.rpartition(".")
            setattr(layers.get_submodule(parent), own, module.get_base_layer())


def _open(layers: nn.Module, *, whole: bool) -> None:
    for name, parameter in layers.named_parameters():
        # WavLM's later layers borrow it from the first, which is not opened with them.
        parameter.requires_grad_(whole or "rel_attn_embed" not in name)
