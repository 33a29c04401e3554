# SPDX-License-Identifier: Apache-2.0
"""HuBERT, wav2vec 2.0 and WavLM as frozen backbones, exact under padding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .base import (
    BackboneError,
    BackboneSpec,
    freeze,
    padding_mask_from_lengths,
    prepare_waveforms,
)
from .checkpoint_loading import load_checkpoint, read_do_normalize, read_model_type
from .convolutional_front_end import ConvolutionalFrontEnd
from .fingerprint import fingerprint_of
from .layer_choice import choose_layer

SSL_MODEL_TYPES = ("hubert", "wav2vec2", "wavlm")

# Raise with every change here or in the front end that changes a feature's value.
_CODE_VERSION = 1
# Epsilon of Wav2Vec2FeatureExtractor, which the checkpoints were trained with.
_NORMALIZATION_EPSILON = 1e-7
# What a checkpoint may hold beyond the encoder: the heads of pretraining (quantiser, projections,
# HuBERT's label embeddings), of CTC and of classification, and the embedding of masked frames,
# which exists in the model only where masking is configured.
_MAY_BE_UNEXPECTED = (
    r"lm_head\.",
    r"quantizer\.",
    r"project_(q|hid)\.",
    r"final_proj\.",
    r"label_embs_concat$",
    r"projector\.",
    r"classifier\.",
    r"layer_weights$",
    r"tdnn\.",
    r"objective\.",
    r"feature_extractor\.(weight|bias)$",
    r"((hubert|wav2vec2|wavlm)\.)?masked_spec_embed$",
)
_MAY_BE_MISSING = (r"masked_spec_embed$",)
# Settings that change the features without showing in the weights.
_CONFIG_IN_FINGERPRINT = (
    "model_type",
    "conv_kernel",
    "conv_stride",
    "feat_extract_norm",
    "feat_extract_activation",
    "feat_proj_layer_norm",
    "hidden_act",
    "num_attention_heads",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "conv_pos_batch_norm",
    "layer_norm_eps",
    "do_stable_layer_norm",
    "num_buckets",
    "max_bucket_distance",
)


class SSLEncoderBackbone(nn.Module):
    """The frozen encoder of a HuBERT, wav2vec 2.0 or WavLM checkpoint, up to one layer.

    A clip gives the same frames alone and in a padded batch, for the GroupNorm checkpoints too: see
    `ConvolutionalFrontEnd`. Layers above the one asked for are neither run nor kept in memory.

    Layer `k` is `hidden_states[k]` of transformers, and `last` its `last_hidden_state`. The two
    differ for the top layer of encoders with `do_stable_layer_norm` (the large ones): transformers
    5 gives every `hidden_states[k]` before the final LayerNorm, and `last_hidden_state` after it.

    Waveforms are brought to zero mean and unit variance per clip, over its real samples, where the
    checkpoint's `preprocessor_config.json` has `do_normalize`. Where that file is missing, as
    beside a model saved without its feature extractor, `feat_extract_norm` decides, in line with
    how the published checkpoints were trained: `layer` is normalised; `group` is not, and there it
    hardly matters, since the GroupNorm takes out level and offset anyway.

    Example:
        >>> backbone = SSLEncoderBackbone.from_pretrained("facebook/hubert-base-ls960", layer=9)
        >>> frames, padding_mask = backbone(*pad_waveforms([read_audio("clip.wav")]))
    """

    def __init__(
        self,
        model: Any,
        *,
        layer: int | str = "last",
        normalize: bool | None = None,
        name: str = "in memory",
        revision: str | None = None,
    ) -> None:
        """Take over a loaded model; `from_pretrained` and `from_model` are the ways in."""
        super().__init__()
        config = model.config
        if config.model_type not in SSL_MODEL_TYPES:
            raise BackboneError(_wrong_family(name, config.model_type))
        if getattr(config, "add_adapter", False):
            raise BackboneError(
                f"{name} has a convolutional adapter on top (add_adapter), which changes the frame "
                "rate: set add_adapter to false in its config.json and save it without the adapter."
            )
        self.name = name
        self.revision = revision
        self.layer = choose_layer(layer, config.num_hidden_layers, name)
        layer_norm_features = config.feat_extract_norm == "layer"
        self.normalize = layer_norm_features if normalize is None else normalize
        self.front_end = ConvolutionalFrontEnd(
            model.feature_extractor.conv_layers,
            config.conv_kernel,
            config.conv_stride,
            normalized_over_time=not layer_norm_features,
        )
        self.feature_projection = model.feature_projection
        self.encoder = model.encoder
        if self.layer != "last":
            self._cut_above(self.layer, stable=config.do_stable_layer_norm)
        if getattr(self.encoder.pos_conv_embed, "batch_norm", None) is not None:
            self.encoder.pos_conv_embed.batch_norm = _PaddingKeepingBatchNorm(
                self.encoder.pos_conv_embed.batch_norm
            )
        # Eval mode switches it off already; transformers also reads it from here.
        self.encoder.config.layerdrop = 0.0
        freeze(self)
        settings = config.to_dict()
        self._description = {
            "type": "ssl",
            "code": _CODE_VERSION,
            "layers": len(self.encoder.layers),
            "normalize": self.normalize,
            **{key: settings[key] for key in _CONFIG_IN_FINGERPRINT if key in settings},
        }
        sample_rate = 16_000
        self.spec = BackboneSpec(
            name=name,
            feature_size=config.hidden_size,
            frame_rate=sample_rate / math.prod(config.conv_stride),
            minimum_samples=self.front_end.minimum_samples,
            layers=len(self.encoder.layers),
            parameters=sum(parameter.numel() for parameter in self.parameters()),
            sample_rate=sample_rate,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        layer: int | str = "last",
        revision: str | None = None,
        normalize: bool | None = None,
    ) -> SSLEncoderBackbone:
        """Load a checkpoint, strictly, from the hub or a local folder.

        Args:
            name_or_path: Hub id, or a folder with `config.json` and `model.safetensors`.
            layer: 0 (the input of the first layer) to the number of layers, or `last`.
            revision: Branch, tag or commit on the hub.
            normalize: Whether waveforms are normalised per clip; None reads it from the checkpoint.

        Returns:
            The backbone, frozen, in float32, on the CPU.

        Raises:
            BackboneError: No such checkpoint or layer, another family, or weights that do not fit.
        """
        model_type = read_model_type(name_or_path, revision)
        if model_type not in SSL_MODEL_TYPES:
            raise BackboneError(_wrong_family(name_or_path, model_type))
        model = load_checkpoint(
            _model_classes()[model_type],
            name_or_path,
            revision,
            may_be_missing=_MAY_BE_MISSING,
            may_be_unexpected=_MAY_BE_UNEXPECTED,
        )
        if normalize is None:
            normalize = read_do_normalize(name_or_path, revision)
        # On the hub a branch moves on; the commit that was loaded does not.
        commit = getattr(model.config, "_commit_hash", None)
        return cls(
            model, layer=layer, normalize=normalize, name=name_or_path, revision=commit or revision
        )

    @classmethod
    def from_model(
        cls,
        model: Any,
        *,
        layer: int | str = "last",
        normalize: bool | None = None,
        name: str = "in memory",
    ) -> SSLEncoderBackbone:
        """Take over a model that is already in memory.

        Its modules are frozen and cut where they are, so give a copy if you go on using it.

        Args:
            model: A `HubertModel`, `Wav2Vec2Model` or `WavLMModel` of transformers.
            layer: 0 (the input of the first layer) to the number of layers, or `last`.
            normalize: Whether waveforms are normalised per clip; None decides by
                `feat_extract_norm`.
            name: What `spec` and error messages call it.

        Returns:
            The backbone, frozen.

        Raises:
            BackboneError: Another family, or no such layer.
        """
        return cls(model, layer=layer, normalize=normalize, name=name)

    def train(self, mode: bool = True) -> SSLEncoderBackbone:
        """Stay in eval mode, whatever a parent module asks for."""
        return super().train(False)

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a right-padded batch.

        Args:
            waveforms: `[B, S]` float, mono at 16 kHz, in about -1..1.
            padding_mask: `[B, S]` bool, True = padding.

        Returns:
            Frames `[B, T, D]` float, zero on padding, and their padding mask `[B, T]` bool.

        Raises:
            ValueError: Wrong shapes or types, or a clip with no real sample.
        """
        waveforms, lengths = prepare_waveforms(waveforms, padding_mask, self.spec.minimum_samples)
        if self.normalize:
            waveforms = normalize_waveforms(waveforms, lengths)
        # Zeros make up for what a clip is shorter than one frame: they count as real from here on.
        lengths = lengths.clamp(min=self.spec.minimum_samples)
        dtype = next(self.parameters()).dtype
        features = self.front_end(waveforms.to(dtype), lengths)  # [B, T, channels]
        frame_lengths = self.front_end.frame_lengths(lengths)  # [B]
        size = int(frame_lengths.max())
        frame_padding_mask = padding_mask_from_lengths(frame_lengths, size)  # [B, T]
        projected = self.feature_projection(features[:, :size])
        if isinstance(projected, tuple):  # wav2vec 2.0 and WavLM also give what they projected.
            projected = projected[0]
        encoded = self.encoder(projected, attention_mask=~frame_padding_mask)
        frames = encoded.last_hidden_state  # [B, T, D]
        return frames.masked_fill(frame_padding_mask[..., None], 0.0), frame_padding_mask

    def config(self) -> dict[str, Any]:
        """JSON-able; `backbone_from_config` builds the same backbone from it."""
        return {
            "type": "ssl",
            "name_or_path": self.name,
            "revision": self.revision,
            "layer": self.layer,
            "normalize": self.normalize,
        }

    def fingerprint(self) -> str:
        """64 hexadecimal digits that are the same exactly when the features are the same."""
        return fingerprint_of(self._description, self)

    def _cut_above(self, layer: int, *, stable: bool) -> None:
        self.encoder.layers = self.encoder.layers[:layer]
        if stable:
            # There the encoder's LayerNorm comes after the layers, and hidden_states[k] before it.
            self.encoder.layer_norm = nn.Identity()


def normalize_waveforms(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Bring each clip to zero mean and unit variance over its real samples.

    Args:
        waveforms: `[B, S]` float, zero on padding.
        lengths: Real samples per clip `[B]`.

    Returns:
        `[B, S]`, zero on padding.
    """
    padding_mask = padding_mask_from_lengths(lengths, waveforms.shape[1])
    count = lengths[:, None]
    centred = waveforms - waveforms.sum(dim=1, keepdim=True) / count
    centred = centred.masked_fill(padding_mask, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count  # [B, 1]
    return centred / torch.sqrt(variance + _NORMALIZATION_EPSILON)


class _PaddingKeepingBatchNorm(nn.Module):
    """BatchNorm before the position convolution (`conv_pos_batch_norm`), padding left at zero.

    The encoder puts zeros on padding, which a BatchNorm would turn into its bias and the
    convolution would carry into real frames. A frame that is zero in every channel is padding.
    """

    def __init__(self, batch_norm: nn.Module) -> None:
        super().__init__()
        self.batch_norm = batch_norm

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise `[B, D, T]`."""
        padding = (hidden_states == 0).all(dim=1, keepdim=True)  # [B, 1, T]
        return self.batch_norm(hidden_states).masked_fill(padding, 0.0)


def _model_classes() -> dict[str, Any]:
    from transformers import HubertModel, Wav2Vec2Model, WavLMModel

    return {"hubert": HubertModel, "wav2vec2": Wav2Vec2Model, "wavlm": WavLMModel}


def _wrong_family(name: str, model_type: str) -> str:
    return (
        f"{name} is a {model_type!r} checkpoint, but one of these families is needed here: "
        f"{', '.join(SSL_MODEL_TYPES)}. load_backbone takes Whisper checkpoints too."
    )
