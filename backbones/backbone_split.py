# SPDX-License-Identifier: Apache-2.0
"""A backbone cut in two: a frozen part, whose frames can be cached, and the layers that train."""

from __future__ import annotations

import copy

from .base import Backbone, BackboneError
from .encoder import EncoderBackbone, Precision
from .tuned_layers import TunedLayers
from .tuning import Lora, OpenLayers, Tuning
from .whisper_encoder import WhisperEncoder


def split_backbone(
    backbone: Backbone, tuning: Tuning, *, precision: Precision = "fp32"
) -> tuple[EncoderBackbone, TunedLayers]:
    """Cut a backbone below the lowest layer that is to train.

    Args:
        backbone: The whole backbone, an encoder, in float32. It stays as it is.
        tuning: What is to train.
        precision: What the frozen part is computed in.

    Returns:
        The frozen part, whose frames are `hidden_states[k]`: 0 for LoRA, else the number of layers
        below the opened ones. It is the backbone that the same checkpoint gives with `layer=k`, by
        its fingerprint too. And the layers above it, on a copy of their weights.

    Raises:
        BackboneError: A backbone without layers, fewer layers than are to be opened, or one whose
            frames cannot be had by running the layers on other frames.

    Example:
        >>> backbone = EncoderBackbone.from_pretrained("facebook/hubert-base-ls960")
        >>> frozen, tuned_layers = split_backbone(backbone, OpenLayers(2))
        >>> frames, padding_mask = frozen(*pad_waveforms([read_audio("clip.wav")]))
        >>> tuned_layers(frames, padding_mask)  # as backbone gives them, and trainable
    """
    whole = _checked(backbone, tuning)
    kept = 0 if isinstance(tuning, Lora) else whole.encoder.depth - tuning.top
    lower, upper = whole.encoder.cut(kept)
    frozen = EncoderBackbone(
        # Another precision is set in place, and the whole backbone must keep its own.
        lower if precision == "fp32" else copy.deepcopy(lower),
        whole.family,
        name=whole.name,
        revision=whole.revision,
        precision=precision,
        licence=whole.spec.licence,
    )
    tuned = TunedLayers(
        copy.deepcopy(upper),
        tuning,
        lora_targets=whole.family.lora_targets,
        frozen_layers=kept,
        backbone_config=whole.config(),
        backbone_fingerprint=whole.fingerprint(),
    )
    return frozen, tuned


def _checked(backbone: Backbone, tuning: Tuning) -> EncoderBackbone:
    if not isinstance(backbone, EncoderBackbone):
        raise BackboneError(
            f"{backbone.spec.name} has no layers to train: give an encoder, or train nothing of it."
        )
    name, encoder = backbone.spec.name, backbone.encoder
    if backbone.precision != "fp32":
        raise BackboneError(
            f"{name} was loaded in {backbone.precision}, which rounds the weights that are to be "
            "trained: load it in fp32, and give split_backbone the precision of the frozen part."
        )
    if isinstance(encoder, WhisperEncoder) and encoder.context != "clip":
        raise BackboneError(
            f"Layers of {name} cannot be trained with the context 'window': they would need the "
            "frames of the silence up to 30 s, which do not leave the frozen part. Use the clip "
            "alone: --whisper-context clip."
        )
    top = tuning.top if isinstance(tuning, OpenLayers) else 1
    if top > encoder.depth:
        wanted = f"the top {top} were" if isinstance(tuning, OpenLayers) else "LoRA on some was"
        raise BackboneError(
            f"{name} runs {encoder.depth} layers for layer {backbone.layer!r}, but {wanted} asked "
            "for: open fewer, or read a higher layer."
        )
    reads_all = encoder.layer in ("mean", "weighted")
    if isinstance(tuning, OpenLayers) and reads_all and top < encoder.depth:
        raise BackboneError(
            f"Layer {encoder.layer!r} of {name} reads all layers, but only the frames below the "
            f"opened ones are kept: open all {encoder.depth}, use LoRA, or read one layer, such as "
            "'last'."
        )
    return backbone
