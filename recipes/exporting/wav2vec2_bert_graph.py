# SPDX-License-Identifier: Apache-2.0
"""Wav2Vec2-BERT as a graph."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from voxadapt.backbones import kaldi_filterbank as kaldi
from voxadapt.backbones.attention import join_heads, split_heads
from voxadapt.backbones.encoder_cut import twin
from voxadapt.backbones.layer_choice import combine
from voxadapt.backbones.wav2vec2_bert import Wav2Vec2BertEncoder, _distance_bias, _feed_forward
from voxadapt.recipes.exporting.attention_graph import attend_at_once
from voxadapt.recipes.exporting.mel_power import MelPower


class Wav2Vec2BertGraph(nn.Module):
    """What `Wav2Vec2BertEncoder` computes, with nothing that depends on the values of lengths.

    Args:
        encoder: The encoder, whose modules are used where they are.
    """

    def __init__(self, encoder: Wav2Vec2BertEncoder) -> None:
        super().__init__()
        self.encoder = twin(encoder)
        self.encoder.run_layer = conformer_layer
        self.mel_power = _kaldi_power(encoder.filterbank)
        self.minimum_samples = encoder.minimum_samples

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            waveforms: ``[B, S]`` float32, zero on padding, ``S`` at least `minimum_samples`.
            lengths: Real samples of each clip ``[B]``.

        Returns:
            Frames ``[B, T, D]``, whose padding may hold anything, and frames of each clip ``[B]``.
        """
        energies = self.mel_power(waveforms).clamp(min=kaldi._MEL_FLOOR).log().float()
        mel_lengths = kaldi._mel_lengths(lengths)
        energies = kaldi._normalize(energies, mel_lengths)  # [B, M, num_mels]
        per_frame = kaldi._MELS_PER_FRAME
        size = energies.shape[1] // per_frame
        energies = energies[:, : size * per_frame]
        features = energies.unflatten(1, (size, per_frame)).flatten(start_dim=2)
        frame_lengths = mel_lengths // per_frame
        projection = self.encoder.feature_projection
        hidden_states = projection.projection(projection.layer_norm(features))
        states = conformer_states(self.encoder, hidden_states, frame_lengths)
        return combine(states, self.encoder.layer, self.encoder.final), frame_lengths


def _kaldi_power(filterbank: kaldi.KaldiFilterbank) -> MelPower:
    def transform(windows: Tensor) -> Tensor:
        windows = windows * kaldi._SAMPLE_SCALE
        windows = windows - windows.mean(dim=-1, keepdim=True)
        previous = torch.cat([windows[..., :1], windows[..., :-1]], dim=-1)
        windows = (windows - kaldi._PREEMPHASIS * previous) * filterbank.window
        return torch.fft.rfft(windows, kaldi._FFT_SIZE)

    return MelPower(transform, kaldi._WINDOW_SAMPLES, kaldi._HOP_SAMPLES, filterbank.mel_filters)


def conformer_states(
    encoder: Wav2Vec2BertEncoder, hidden_states: Tensor, lengths: Tensor
) -> Iterator[Tensor]:
    """Yield ``hidden_states`` ``[N, T, D]``, then each layer's, as the encoder's `states` does.

    Args:
        encoder: The encoder, or the upper part of its `cut`.
        hidden_states: The first layer's input.
        lengths: Real frames of each clip ``[N]``, at least 1.
    """
    yield hidden_states
    for layer in encoder.layers:
        hidden_states = conformer_layer(layer, hidden_states, lengths)
        yield hidden_states


def conformer_layer(layer: Any, hidden_states: Tensor, lengths: Tensor) -> Tensor:
    """Run one layer of `Wav2Vec2BertEncoder`, its attention over all queries at once."""
    inner = _feed_forward(layer.ffn1, layer.ffn1_layer_norm(hidden_states))
    hidden_states = hidden_states + 0.5 * inner
    hidden_states = hidden_states + _attention(layer, hidden_states, lengths)
    hidden_states = hidden_states + layer._convolution(layer.conv_layer_norm(hidden_states))
    inner = _feed_forward(layer.ffn2, layer.ffn2_layer_norm(hidden_states))
    normed: Tensor = layer.final_layer_norm(hidden_states + 0.5 * inner)
    return normed


def _attention(layer: Any, hidden_states: Tensor, lengths: Tensor) -> Tensor:
    inputs = layer.self_attn_layer_norm(hidden_states)
    if layer.left_positions is None:  # without a bias there is no loop over queries
        unbiased: Tensor = layer._attention(inputs, lengths)
        return unbiased
    attention = layer.self_attn
    query, key, value = (
        split_heads(linear(inputs), layer.heads)
        for linear in (attention.linear_q, attention.linear_k, attention.linear_v)
    )
    bias = _distance_bias(query, attention.distance_embedding.weight, layer.left_positions)
    attended: Tensor = attention.linear_out(
        join_heads(attend_at_once(query, key, value, lengths, bias))
    )
    return attended
