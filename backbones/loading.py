# SPDX-License-Identifier: Apache-2.0
"""From a name, a model or a saved config to a backbone."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .base import Backbone, BackboneError
from .encoder import EncoderBackbone, Precision
from .filterbank import FilterbankBackbone, FilterbankConfig

_ENCODER_KEYS = {"name_or_path", "revision", "layer", "normalize", "whisper_context"}


def load_backbone(
    name: Any,
    *,
    layer: int | str = "last",
    revision: str | None = None,
    whisper_context: str = "window",
    precision: Precision = "fp32",
) -> Backbone:
    """Load a backbone.

    Args:
        name: `fbank`, or the hub id or folder of a checkpoint of one of the families (HuBERT,
            wav2vec 2.0, WavLM, UniSpeech-SAT, data2vec-audio, Wav2Vec2-BERT, Whisper), or an
            instance of such a model of transformers, which is then taken over.
        layer: Transformer layer whose output is used, 0 (the input of the first) to the number of
            layers; or `last`; or, of all layers, their `mean` or a `weighted` sum that is learnt
            later. The filterbank has none, so only `last` is allowed there.
        revision: Branch, tag or commit on the hub.
        whisper_context: What a Whisper encoder sees around a clip: `window` or `clip`, see
            `WhisperEncoder`. No other backbone reads it.
        precision: What an encoder is computed in, `fp32` or `bf16`. The filterbank is always in
            float32: it costs next to nothing.

    Returns:
        The backbone, frozen.

    Raises:
        BackboneError: There is no such checkpoint or layer, or its weights or family do not fit.

    Example:
        >>> backbone = load_backbone("facebook/hubert-base-ls960", layer=9)
    """
    if isinstance(name, os.PathLike):
        name = os.fspath(name)
    if name == "fbank":
        if layer != "last" or revision is not None:
            raise BackboneError(
                f"fbank was asked for with layer {layer!r} and revision {revision!r}, but it has "
                "neither layers nor revisions: leave both out."
            )
        return FilterbankBackbone()
    if isinstance(name, str):
        return EncoderBackbone.from_pretrained(
            name,
            layer=layer,
            revision=revision,
            whisper_context=whisper_context,
            precision=precision,
        )
    if revision is not None:
        raise BackboneError(
            f"revision {revision!r} goes with a hub id, but a {type(name).__name__} in memory was "
            "given: leave it out."
        )
    return EncoderBackbone.from_model(
        name, layer=layer, whisper_context=whisper_context, precision=precision
    )


def backbone_from_config(config: Mapping[str, Any], *, precision: Precision = "fp32") -> Backbone:
    """Build the backbone whose `config()` this is.

    Args:
        config: What `config()` gave. A further key `fingerprint` is allowed: the backbone's own is
            then compared with it, so that other weights under the same name do not go unnoticed.
        precision: What an encoder is computed in.

    Returns:
        The backbone, frozen.

    Raises:
        BackboneError: Unknown type or keys, an encoder that cannot be loaded, or another
            fingerprint.
    """
    options = dict(config)
    kind = options.pop("type", None)
    fingerprint = options.pop("fingerprint", None)
    backbone: Backbone
    if kind == "fbank":
        _check_keys(options, {field.name for field in fields(FilterbankConfig)})
        backbone = FilterbankBackbone(FilterbankConfig(**options))
    elif kind == "encoder":
        _check_keys(options, _ENCODER_KEYS)
        if options.get("name_or_path") is None:
            raise BackboneError(
                "The backbone config has no name_or_path: give a hub id or a folder. It was saved "
                "with an encoder in memory that had no name; load that encoder and give it as "
                "`backbone`."
            )
        backbone = EncoderBackbone.from_pretrained(**options, precision=precision)
    else:
        raise BackboneError(
            f"The backbone config has type {kind!r}, but fbank or encoder is needed."
        )
    if fingerprint is not None and backbone.fingerprint() != fingerprint:
        raise BackboneError(
            f"{backbone.spec.name} gives other features than when its config was saved "
            f"(fingerprint {backbone.fingerprint()[:16]}, not {str(fingerprint)[:16]}): give the "
            "same weights, for a hub id by its revision."
        )
    return backbone


def _check_keys(options: Mapping[str, Any], allowed: set[str]) -> None:
    for key in options:
        if key not in allowed:
            closest = difflib.get_close_matches(key, sorted(allowed), n=1)
            hint = f"; {closest[0]!r} is the closest" if closest else ""
            raise BackboneError(
                f"The backbone config has an unknown key {key!r}: allowed are "
                f"{', '.join(sorted(allowed))}{hint}."
            )
