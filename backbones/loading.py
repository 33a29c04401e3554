# SPDX-License-Identifier: Apache-2.0
"""From a name, or a saved config, to a backbone."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .base import Backbone, BackboneError
from .checkpoint_loading import read_model_type
from .filterbank import FilterbankBackbone, FilterbankConfig
from .ssl_encoder import SSL_MODEL_TYPES, SSLEncoderBackbone
from .whisper_encoder import WHISPER_MODEL_TYPE, WhisperEncoderBackbone


def load_backbone(
    name: str,
    *,
    layer: int | str = "last",
    revision: str | None = None,
    whisper_context: str = "window",
) -> Backbone:
    """Load a backbone by name.

    Args:
        name: `fbank`, or the hub id or folder of a HuBERT, wav2vec 2.0, WavLM or Whisper
            checkpoint.
        layer: Transformer layer whose output is used, 0 (the input of the first) to the number of
            layers, or `last`. The filterbank has none, so only `last` is allowed there.
        revision: Branch, tag or commit on the hub.
        whisper_context: What a Whisper encoder sees around a clip: `window` or `clip`, see
            `WhisperEncoderBackbone`. No other backbone reads it.

    Returns:
        The backbone, frozen.

    Raises:
        BackboneError: There is no such checkpoint or layer, or its weights or family do not fit.

    Example:
        >>> backbone = load_backbone("facebook/hubert-base-ls960", layer=9)
    """
    if name == "fbank":
        if layer != "last" or revision is not None:
            raise BackboneError(
                f"fbank was asked for with layer {layer!r} and revision {revision!r}, but it has "
                "neither layers nor revisions: leave both out."
            )
        return FilterbankBackbone()
    model_type = read_model_type(name, revision)
    if model_type == WHISPER_MODEL_TYPE:
        return WhisperEncoderBackbone.from_pretrained(
            name, layer=layer, revision=revision, context=whisper_context
        )
    if model_type in SSL_MODEL_TYPES:
        return SSLEncoderBackbone.from_pretrained(name, layer=layer, revision=revision)
    families = ", ".join([*SSL_MODEL_TYPES, WHISPER_MODEL_TYPE])
    raise BackboneError(
        f"{name} is a {model_type!r} checkpoint, but a backbone is one of: {families}, or fbank."
    )


def backbone_from_config(config: Mapping[str, Any]) -> Backbone:
    """Build the backbone whose `config()` this is.

    Args:
        config: What `config()` gave. A further key `fingerprint` is allowed: the backbone's own is
            then compared with it, so that other weights under the same name do not go unnoticed.

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
    elif kind == "ssl":
        _check_keys(options, {"name_or_path", "layer", "revision", "normalize"})
        backbone = SSLEncoderBackbone.from_pretrained(**options)
    elif kind == "whisper":
        _check_keys(options, {"name_or_path", "layer", "revision", "context"})
        backbone = WhisperEncoderBackbone.from_pretrained(**options)
    else:
        raise BackboneError(
            f"The backbone config has type {kind!r}, but fbank, ssl or whisper is needed."
        )
    if fingerprint is not None and backbone.fingerprint() != fingerprint:
        raise BackboneError(
            f"{backbone.spec.name} gives other features than when its config was saved "
            f"(fingerprint {backbone.fingerprint()[:16]}, not {str(fingerprint)[:16]}): give the "
            "same weights, for a hub id by its revision."
        )
    return backbone


def _check_keys(options: Mapping[str, Any], allowed: set[str]) -> None:
    if "name_or_path" in allowed and "name_or_path" not in options:
        raise BackboneError("The backbone config has no name_or_path: give a hub id or a folder.")
    for key in options:
        if key not in allowed:
            closest = difflib.get_close_matches(key, sorted(allowed), n=1)
            hint = f"; {closest[0]!r} is the closest" if closest else ""
            raise BackboneError(
                f"The backbone config has an unknown key {key!r}: allowed are "
                f"{', '.join(sorted(allowed))}{hint}."
            )
