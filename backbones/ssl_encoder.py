# SPDX-License-Identifier: Apache-2.0
"""wav2vec 2.0, HuBERT, WavLM, UniSpeech-SAT and data2vec: one encoder, exact under padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from .attention import lengths_if_padded
from .base import BackboneError, padding_mask_from_lengths
from .convolutional_front_end import ConvolutionalFrontEnd, normalize_waveforms
from .dense import dense
from .encoder_cut import twin
from .layer_choice import Layer, combine, layers_run
from .position_convolution import PositionConvolution
from .relative_position_bias import gated_bias, relative_biases
from .transformer_layers import LayerNames, transformer_layer

# Raise with every change here, or in what this calls, that changes a feature's value.
_CODE_VERSION = 2
# Epsilon of Wav2Vec2FeatureExtractor, which the checkpoints were trained with.
_NORMALIZATION_EPSILON = 1e-7
_NAMES = LayerNames(
    attention="attention",
    attention_norm="layer_norm",
    feed_forward="feed_forward",
    inner="intermediate_dense",
    outer="output_dense",
    activation="intermediate_act_fn",
    feed_forward_norm="final_layer_norm",
)
# Settings that change the features without showing in the weights.
_DESCRIBED = (
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
    "conv_pos_kernel_size",
    "layer_norm_eps",
    "do_stable_layer_norm",
    "num_buckets",
    "max_bucket_distance",
)


class SSLEncoder(nn.Module):
    """The encoder of a wav2vec 2.0 model or one of its relatives, up to the layers asked for.

    Layer `k` is `hidden_states[k]` of transformers, and `last` its `last_hidden_state`. The two
    differ for the top layer of encoders with `do_stable_layer_norm` (the large ones): transformers
    5 gives every `hidden_states[k]` before the final LayerNorm, and `last_hidden_state` after it.

    Waveforms are brought to zero mean and unit variance per clip, over its real samples, where the
    checkpoint's `preprocessor_config.json` has `do_normalize`. Where that file is missing, as
    beside a model saved without its feature extractor, `feat_extract_norm` decides, in line with
    how the published checkpoints were trained: `layer` is normalised; `group` is not, and there it
    hardly matters, since the GroupNorm takes out level and offset anyway.

    Args:
        model: A `Wav2Vec2Model`, `HubertModel`, `WavLMModel`, `UniSpeechSatModel` or
            `Data2VecAudioModel`. Its modules are used and cut where they are.
        layer: What to give, as `choose_layer` returns it.
        normalize: Whether waveforms are normalised; None decides by `feat_extract_norm`.
        name: What error messages call the model.

    Raises:
        BackboneError: The model has a convolutional adapter, which changes the frame rate.
    """

    def __init__(
        self, model: Any, layer: Layer, *, normalize: bool | None = None, name: str = "the model"
    ) -> None:
        super().__init__()
        config = model.config
        if getattr(config, "add_adapter", False):
            raise BackboneError(
                f"{name} has a convolutional adapter on top (add_adapter), which changes the frame "
                "rate: set add_adapter to false in its config.json and save it without the adapter."
            )
        # data2vec has no such setting: all its convolutions have a LayerNorm.
        over_time = getattr(config, "feat_extract_norm", "layer") == "group"
        self.normalize = not over_time if normalize is None else normalize
        self.layer = layer
        self.front_end = ConvolutionalFrontEnd(
            model.feature_extractor.conv_layers,
            config.conv_kernel,
            config.conv_stride,
            normalized_over_time=over_time,
        )
        self.projection_norm = getattr(model.feature_projection, "layer_norm", None)
        self.projection = model.feature_projection.projection
        self.position = PositionConvolution(model.encoder.pos_conv_embed)
        self.layers = model.encoder.layers[: layers_run(layer, config.num_hidden_layers)]
        self.pre_norm = bool(getattr(config, "do_stable_layer_norm", False))
        # With pre-norm layers it comes after the last of them, else before the first.
        unused = self.pre_norm and layer != "last"
        self.layer_norm = nn.Identity() if unused else model.encoder.layer_norm
        self.heads = config.num_attention_heads
        self.run_layer = transformer_layer
        self.minimum_samples = self.receptive_field = self.front_end.minimum_samples
        self.frame_rate = 16_000 / math.prod(config.conv_stride)
        self.width = config.hidden_size
        self.depth = len(self.layers)
        self.normalization = "zero mean, unit variance per clip" if self.normalize else "none"
        settings = config.to_dict()
        self.description = {
            "type": "ssl",
            "code": _CODE_VERSION,
            # The top layer by its number and by `last` differ in their weights where they differ.
            "layer": layer if layer in ("mean", "weighted") else self.depth,
            "normalize": self.normalize,
            **{key: settings[key] for key in _DESCRIBED if key in settings},
        }

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            waveforms: `[B, S]` float32, zero on padding, `S` at least `minimum_samples`.
            lengths: Real samples of each clip `[B]`.

        Returns:
            Frames `[B, T, D]`, whose padding may hold anything, and frames of each clip `[B]`.
        """
        if self.normalize:
            waveforms = normalize_waveforms(waveforms, lengths, _NORMALIZATION_EPSILON)
        # Zeros make up for what a clip is shorter than one frame: they count as real from here on.
        lengths = lengths.clamp(min=self.minimum_samples)
        features = self.front_end(waveforms, lengths)  # [B, T, channels]
        frame_lengths = self.front_end.frame_lengths(lengths)  # [B]
        hidden_states = self._embed(features, frame_lengths)
        states = self.states(hidden_states, frame_lengths)
        return combine(states, self.layer, self.final), frame_lengths

    def states(self, hidden_states: Tensor, frame_lengths: Tensor) -> Iterator[Tensor]:
        """Yield `hidden_states` `[N, T, D]`, which is `hidden_states[0]`, then each layer's."""
        yield hidden_states
        frames = hidden_states.shape[1]
        lengths = lengths_if_padded(frame_lengths, frames)
        first: Any = self.layers[0].attention if len(self.layers) else None
        biases = relative_biases(first, frames) if hasattr(first, "rel_attn_embed") else None
        for layer in self.layers:
            hidden_states = self._run(layer, hidden_states, lengths, biases)
            yield hidden_states

    def final(self, hidden_states: Tensor) -> Tensor:
        """Turn the top layer's state into `last_hidden_state`."""
        normalized: Tensor = self.layer_norm(hidden_states) if self.pre_norm else hidden_states
        return normalized

    def cut(self, below: int) -> tuple[SSLEncoder, SSLEncoder]:
        """Cut the encoder between its layers; both parts use its modules.

        Args:
            below: Layers of the lower part, 0 to `depth`.

        Returns:
            The encoder of layer `below`, and the rest, which has `states` and `final` only.
        """
        lower = twin(self)
        lower.layer = lower.depth = below
        lower.layers = self.layers[:below]
        lower.layer_norm = nn.Identity() if self.pre_norm else self.layer_norm
        lower.description = {**self.description, "layer": below}
        upper = twin(self, ("layers", "layer_norm"))
        upper.layers = self.layers[below:]
        upper.depth = len(upper.layers)
        upper.layer_norm = self.layer_norm if self.pre_norm else nn.Identity()
        first: Any = self.layers[0].attention if len(self.layers) else None
        if 0 < below < self.depth and hasattr(first, "rel_attn_embed"):
            # WavLM's layers all take their position biases from the first one's embedding.
            borrower: Any = twin(upper.layers[0])
            borrower.attention = twin(borrower.attention)
            borrower.attention.rel_attn_embed = first.rel_attn_embed
            upper.layers[0] = borrower
        return lower, upper

    def _embed(self, features: Tensor, frame_lengths: Tensor) -> Tensor:
        """From convolutional features `[B, T, channels]` to the first layer's input `[B, T, D]`."""
        if self.projection_norm is not None:
            features = self.projection_norm(features)
        hidden_states = dense(self.projection, features)  # [B, T, D]
        frames = hidden_states.shape[1]
        lengths = lengths_if_padded(frame_lengths, frames)
        if lengths is not None:
            padding_mask = padding_mask_from_lengths(lengths, frames)
            hidden_states = hidden_states.masked_fill(padding_mask[..., None], 0.0)
        hidden_states = hidden_states + self.position(hidden_states, lengths)
        embedded: Tensor = hidden_states if self.pre_norm else self.layer_norm(hidden_states)
        return embedded

    def _run(
        self, layer: Any, hidden_states: Tensor, lengths: Tensor | None, biases: Tensor | None
    ) -> Tensor:
        attention = layer.attention
        hidden_states = self.run_layer(
            layer,
            _NAMES,
            hidden_states,
            lengths,
            heads=self.heads,
            pre_norm=self.pre_norm,
            bias=None
            if biases is None
            else lambda attention_input: gated_bias(attention, attention_input, biases),
        )
        # MMS checkpoints carry a small adapter in each layer.
        adapter = getattr(layer, "adapter_layer", None)
        return hidden_states if adapter is None else hidden_states + adapter(hidden_states)
