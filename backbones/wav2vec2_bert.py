# SPDX-License-Identifier: Apache-2.0
"""The encoder of Wav2Vec2-BERT, exact under padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend, join_heads, lengths_if_padded, split_heads
from .base import BackboneError
from .dense import dense
from .encoder_cut import twin
from .kaldi_filterbank import KaldiFilterbank
from .layer_choice import choose_layer, combine, layers_run

WAV2VEC2_BERT_MODEL_TYPE = "wav2vec2-bert"

# Raise with every change here or in the filterbank that changes a feature's value.
_CODE_VERSION = 1
_POSITION_EMBEDDINGS = ("relative_key", None)
# Settings that change the features without showing in the weights.
_DESCRIBED = (
    "hidden_act",
    "layer_norm_eps",
    "num_attention_heads",
    "position_embeddings_type",
    "left_max_position_embeddings",
    "right_max_position_embeddings",
)


class Wav2Vec2BertEncoder(nn.Module):
    """A Wav2Vec2-BERT encoder, such as facebook/w2v-bert-2.0: Conformer layers over filterbanks.

    Layer `k` is `hidden_states[k]` of transformers' `Wav2Vec2BertModel`. `last` is the same as the
    top layer: each layer ends with a LayerNorm of its own, and none comes after them.

    One frame is 320 samples (20 ms) and sees 560 of them, see `KaldiFilterbank`. The convolutions
    look to the left only and the padding is on the right, so that besides the filterbank only the
    attention has to know of it.

    Args:
        model: A `Wav2Vec2BertModel`. Its modules are taken over where they are, so give a copy if
            you go on using it.
        layer: 0 (the projected filterbank) to the number of layers, `last`, `mean` or `weighted`.
        name: What error messages call the model.

    Raises:
        BackboneError: No such layer, an adapter on top, or position embeddings or input features
            of another kind than the released checkpoint's.
    """

    minimum_samples = KaldiFilterbank.minimum_samples
    receptive_field = KaldiFilterbank.minimum_samples
    frame_rate = 16_000 / KaldiFilterbank.frame_samples
    normalization = "each Mel filter to zero mean and unit variance over the clip"

    def __init__(self, model: Any, layer: int | str = "last", *, name: str = "the model") -> None:
        super().__init__()
        config = model.config
        _check(config, name)
        self.layer = choose_layer(layer, config.num_hidden_layers, name)
        self.depth = layers_run(self.layer, config.num_hidden_layers)
        self.width: int = config.hidden_size
        self.filterbank = KaldiFilterbank()
        self.feature_projection = model.feature_projection
        self.layers = nn.ModuleList(
            _ConformerLayer(module, config) for module in model.encoder.layers[: self.depth]
        )
        self.run_layer = _ConformerLayer.__call__
        self.description: dict[str, Any] = {
            "type": WAV2VEC2_BERT_MODEL_TYPE,
            "code": _CODE_VERSION,
            # The same features, under either name.
            "layer": self.depth if self.layer == "last" else self.layer,
            **{key: getattr(config, key) for key in _DESCRIBED},
        }

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a right-padded batch.

        Args:
            waveforms: `[B, S]` float32, mono at 16 kHz, in about -1..1; zero on padding, with
                `S >= minimum_samples`.
            lengths: Real samples of each clip `[B]`.

        Returns:
            Frames `[B, T, D]`, where those of the padding hold anything, and frames of each clip
            `[B]`, at least 1. With layer `weighted` the states stand side by side,
            `[B, T, (depth + 1) * D]`.
        """
        features, frame_lengths = self.filterbank(waveforms, lengths)  # [B, T, 160]
        projection = self.feature_projection
        features = features.to(projection.layer_norm.weight.dtype)
        hidden_states = dense(projection.projection, projection.layer_norm(features))
        states = self.states(hidden_states, frame_lengths)
        return combine(states, self.layer, self.final), frame_lengths

    def states(self, hidden_states: Tensor, frame_lengths: Tensor) -> Iterator[Tensor]:
        """Run the layers one by one.

        Args:
            hidden_states: The input of the first layer `[N, T, D]`.
            frame_lengths: Real frames of each clip `[N]`.

        Yields:
            `hidden_states` as it was given, then the output of each layer, `[N, T, D]`.
        """
        yield hidden_states
        lengths = lengths_if_padded(frame_lengths, hidden_states.shape[1])
        for layer in self.layers:
            hidden_states = self.run_layer(layer, hidden_states, lengths)
            yield hidden_states

    def final(self, hidden_states: Tensor) -> Tensor:
        """Turn the top layer's state into `last_hidden_state`: they are the same."""
        return hidden_states

    def cut(self, below: int) -> tuple[Wav2Vec2BertEncoder, Wav2Vec2BertEncoder]:
        """Cut the encoder between its layers; both parts use its modules.

        Args:
            below: Layers of the lower part, 0 to `depth`.

        Returns:
            The encoder of layer `below`, and the rest, which has `states` and `final` only.
        """
        lower = twin(self)
        lower.layer = lower.depth = below
        lower.layers = self.layers[:below]
        lower.description = {**self.description, "layer": below}
        upper = twin(self, ("layers",))
        upper.layers = self.layers[below:]
        upper.depth = len(upper.layers)
        return lower, upper


class _ConformerLayer(nn.Module):
    """A `Wav2Vec2BertEncoderLayer` over its own modules, without dropout.

    Its parts keep the names that they have in transformers; those of the convolution module lose
    that prefix.
    """

    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        self.heads: int = config.num_attention_heads
        self.left_positions: int | None = None
        if config.position_embeddings_type == "relative_key":
            self.left_positions = config.left_max_position_embeddings
        self.ffn1_layer_norm, self.ffn1 = layer.ffn1_layer_norm, layer.ffn1
        self.self_attn_layer_norm, self.self_attn = layer.self_attn_layer_norm, layer.self_attn
        convolution = layer.conv_module
        self.conv_layer_norm = convolution.layer_norm
        self.pointwise_conv1 = _as_linear(convolution.pointwise_conv1)
        self.depthwise_conv = convolution.depthwise_conv
        self.depthwise_layer_norm = convolution.depthwise_layer_norm
        self.activation = convolution.activation
        self.pointwise_conv2 = _as_linear(convolution.pointwise_conv2)
        self.ffn2_layer_norm, self.ffn2 = layer.ffn2_layer_norm, layer.ffn2
        self.final_layer_norm = layer.final_layer_norm

    def forward(self, hidden_states: Tensor, lengths: Tensor | None) -> Tensor:
        """Run the layer over `[N, T, D]`, with real frames `[N]` or None where all are."""
        inner = _feed_forward(self.ffn1, self.ffn1_layer_norm(hidden_states))
        hidden_states = hidden_states + 0.5 * inner
        inputs = self.self_attn_layer_norm(hidden_states)
        hidden_states = hidden_states + self._attention(inputs, lengths)
        hidden_states = hidden_states + self._convolution(self.conv_layer_norm(hidden_states))
        inner = _feed_forward(self.ffn2, self.ffn2_layer_norm(hidden_states))
        normed: Tensor = self.final_layer_norm(hidden_states + 0.5 * inner)
        return normed

    def _attention(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        attention = self.self_attn
        query, key, value = (
            split_heads(dense(linear, inputs), self.heads)
            for linear in (attention.linear_q, attention.linear_k, attention.linear_v)
        )  # [N, H, T, d]
        bias = None
        if self.left_positions is not None:
            bias = _distance_bias(query, attention.distance_embedding.weight, self.left_positions)
        attended = join_heads(attend(query, key, value, lengths, bias))
        return dense(attention.linear_out, attended)

    def _convolution(self, inputs: Tensor) -> Tensor:
        hidden_states = F.glu(dense(self.pointwise_conv1, inputs), dim=-1).transpose(1, 2)
        # All the padding on the left: no frame sees what comes after it.
        hidden_states = F.pad(hidden_states, (self.depthwise_conv.kernel_size[0] - 1, 0))
        hidden_states = self.depthwise_conv(hidden_states).transpose(1, 2)  # [N, T, D]
        hidden_states = self.activation(self.depthwise_layer_norm(hidden_states))
        return dense(self.pointwise_conv2, hidden_states)


def _feed_forward(module: Any, inputs: Tensor) -> Tensor:
    hidden_states = module.intermediate_act_fn(dense(module.intermediate_dense, inputs))
    return dense(module.output_dense, hidden_states)


def _distance_bias(
    query: Tensor, embedding: Tensor, left_positions: int
) -> Callable[[int, int], Tensor]:
    """Score each query against the embedding of each key's distance (Shaw et al. 2018).

    A query has as many scores as there are distances, 73 in the released checkpoint, from which
    those of the keys are picked; transformers looks up an embedding for each pair of frames.

    Args:
        query: `[N, H, T, d]`.
        embedding: Of the distances from `-left_positions` (a key before the query) up, `[P, d]`.
            What lies beyond either end counts as the end.
        left_positions: The largest distance to the left.

    Returns:
        The `bias` of `attend`.
    """
    clips, heads, size, width = query.shape

    def bias(start: int, stop: int) -> Tensor:
        scores = query[:, :, start:stop] @ embedding.to(query.dtype).T * width**-0.5
        keys = torch.arange(size, device=query.device)
        distances = keys - keys[start:stop, None]  # [queries, T]
        positions = (distances + left_positions).clamp(0, len(embedding) - 1)
        return scores.gather(-1, positions.expand(clips, heads, -1, -1))

    return bias


def _as_linear(convolution: nn.Conv1d) -> nn.Linear:
    """Turn a convolution of kernel 1 into the linear layer that it is, sharing its memory."""
    linear = nn.Linear(convolution.in_channels, convolution.out_channels, bias=False, device="meta")
    linear.weight = nn.Parameter(
        convolution.weight.detach()[..., 0], requires_grad=convolution.weight.requires_grad
    )
    return linear


def _check(config: Any, name: str) -> None:
    if config.add_adapter:
        raise BackboneError(
            f"{name} has a convolutional adapter on top (add_adapter is true), which changes the "
            "frame rate: set add_adapter to false in its config.json and save it without the "
            "adapter."
        )
    if config.position_embeddings_type not in _POSITION_EMBEDDINGS:
        raise BackboneError(
            f"{name} has position_embeddings_type {config.position_embeddings_type!r}, but "
            "'relative_key' (as in facebook/w2v-bert-2.0) or null is needed: give such a "
            "checkpoint."
        )
    if config.feature_projection_input_dim != KaldiFilterbank.feature_size:
        raise BackboneError(
            f"{name} has feature_projection_input_dim {config.feature_projection_input_dim}, but "
            f"{KaldiFilterbank.feature_size} is needed, which is two windows of 80 Mel filters (as "
            "in facebook/w2v-bert-2.0): give such a checkpoint."
        )
