# SPDX-License-Identifier: Apache-2.0
"""The encoder of Whisper: windows of 30 s, or the clip alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .attention import lengths_if_padded
from .base import BackboneError
from .convolve import convolve, lay_out
from .encoder_cut import twin
from .layer_choice import Layer, combine, layers_run
from .transformer_layers import LayerNames, transformer_layer
from .whisper_log_mel import MEL_HOP_SAMPLES, WhisperLogMel

# Raise with every change here or in the log-Mel that changes a feature's value.
_CODE_VERSION = 2
_CONTEXTS = ("window", "clip")
# The second convolution has stride 2, so two Mel frames make one.
_MELS_PER_FRAME = 2
_FRAME_SAMPLES = MEL_HOP_SAMPLES * _MELS_PER_FRAME
# A window costs its 30 s however short the clip, so a batch of a few minutes is run in parts.
_CPU_WINDOWS = 4
_GPU_WINDOWS = 32
_NAMES = LayerNames(
    attention="self_attn",
    attention_norm="self_attn_layer_norm",
    feed_forward="",
    inner="fc1",
    outer="fc2",
    activation="activation_fn",
    feed_forward_norm="final_layer_norm",
)


class _Window(NamedTuple):
    clip: int
    start: int  # first frame of the clip in it
    frames: int
    new: int  # frames at its end that the window before did not give


class WhisperEncoder(nn.Module):
    """The encoder of a Whisper model, up to the layers asked for; the decoder is not needed.

    One frame is 320 samples (20 ms). Only frames of the clip itself come out:
    `max(1, samples // 320)` of them, so the padding to 30 s dilutes no pooling.

    Layer `k` is `hidden_states[k]` of transformers' encoder, and `last` its `last_hidden_state`;
    for the top layer they are the same, after the final LayerNorm.

    Clips over 30 s are cut in windows of 30 s whose frames are joined. The last window reaches back
    to be 30 s long as well, and gives the frames that are still missing: a sliver of a second in
    29 s of silence would be encoded badly.

    `context` says what the encoder sees around a clip:

    - `window`: the clip, then silence up to 30 s, as Whisper was trained. It costs 30 s of
      computation for each clip, but for the layer that is given: of its output, and of the
      spectrogram, only the clip's part is computed.
    - `clip`: the clip only, with the first of the position embeddings. Short clips are many times
      cheaper, but these are *other features*, which Whisper was not trained to give: pretrain,
      train and predict with the same choice. The fingerprint tells the two apart.

    Args:
        encoder: The `WhisperEncoder` of transformers, whose modules are used where they are.
        layer: What to give, as `choose_layer` returns it.
        context: `window` or `clip`.

    Raises:
        BackboneError: Another context.
    """

    def __init__(self, encoder: Any, layer: Layer, *, context: str = "window") -> None:
        super().__init__()
        config = encoder.config
        if context not in _CONTEXTS:
            raise BackboneError(
                f"context is {context!r}, but 'window' (padded to 30 s, as trained) or 'clip' is "
                "needed."
            )
        self.layer = layer
        self.context = context
        self.log_mel = WhisperLogMel(config.num_mel_bins)
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        lay_out(self.conv1)
        lay_out(self.conv2)
        self.embed_positions = encoder.embed_positions
        self.layers = encoder.layers[: layers_run(layer, config.encoder_layers)]
        whole = len(self.layers) == config.encoder_layers
        self.layer_norm = encoder.layer_norm if whole else nn.Identity()
        self.heads = config.encoder_attention_heads
        self.run_layer = transformer_layer
        self.window_frames = int(config.max_source_positions)
        self.minimum_samples = _FRAME_SAMPLES
        # Two convolutions of 3 over windows of 400 samples.
        self.receptive_field = 400 + 4 * MEL_HOP_SAMPLES
        self.frame_rate = 16_000 / _FRAME_SAMPLES
        self.width = config.d_model
        self.depth = len(self.layers)
        self.normalization = "log-Mel relative to the loudest point of the window"
        self.description = {
            "type": "whisper",
            "code": _CODE_VERSION,
            "layer": layer if layer in ("mean", "weighted") else self.depth,
            "context": context,
            "activation_function": config.activation_function,
            "encoder_attention_heads": config.encoder_attention_heads,
            "num_mel_bins": config.num_mel_bins,
        }

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            waveforms: `[B, S]` float32, zero on padding, `S` at least `minimum_samples`.
            lengths: Real samples of each clip `[B]`.

        Returns:
            Frames `[B, T, D]`, zero on padding, and frames of each clip `[B]`.
        """
        frame_lengths = (lengths // _FRAME_SAMPLES).clamp(min=1)  # [B]
        windows = list(_cut(frame_lengths.tolist(), self.window_frames))
        parts: list[list[Tensor]] = [[] for _ in waveforms]
        at_once = _GPU_WINDOWS if waveforms.device.type != "cpu" else _CPU_WINDOWS
        if self.context == "clip":
            # As many frames at once, for clips that are shorter than a window.
            longest = max(window.frames for window in windows)
            at_once = max(1, at_once * self.window_frames // longest)
        for first in range(0, len(windows), at_once):
            some = windows[first : first + at_once]
            for window, encoded in zip(some, self._encode(waveforms, some), strict=True):
                parts[window.clip].append(encoded[window.frames - window.new : window.frames])
        return pad_sequence([torch.cat(clip) for clip in parts], batch_first=True), frame_lengths

    def states(
        self, hidden_states: Tensor, frame_lengths: Tensor, wanted: int | None = None
    ) -> Iterator[Tensor]:
        """Yield `hidden_states` `[N, T, D]`, which is `hidden_states[0]`, then each layer's.

        Args:
            hidden_states: The first layer's input.
            frame_lengths: Frames of each clip that may be attended to `[N]`.
            wanted: How many of the first frames are wanted of the last layer; None wants all.
        """
        yield hidden_states
        lengths = lengths_if_padded(frame_lengths, hidden_states.shape[1])
        for number, layer in enumerate(self.layers, start=1):
            hidden_states = self.run_layer(
                layer,
                _NAMES,
                hidden_states,
                lengths,
                heads=self.heads,
                pre_norm=True,
                frames=wanted if number == self.depth else None,
            )
            # transformers gives the top layer's state after the final LayerNorm.
            yield self.layer_norm(hidden_states) if number == self.depth else hidden_states

    def final(self, hidden_states: Tensor) -> Tensor:
        """Turn the top layer's state into `last_hidden_state`: here they are the same."""
        return hidden_states

    def cut(self, below: int) -> tuple[WhisperEncoder, WhisperEncoder]:
        """Cut the encoder between its layers; both parts use its modules.

        Args:
            below: Layers of the lower part, fewer than `depth`.

        Returns:
            The encoder of layer `below`, and the rest, which has `states` and `final` only.
        """
        lower = twin(self)
        lower.layer = lower.depth = below
        lower.layers = self.layers[:below]
        lower.layer_norm = nn.Identity()
        lower.description = {**self.description, "layer": below}
        upper = twin(self, ("layers", "layer_norm"))
        upper.layers = self.layers[below:]
        upper.depth = len(upper.layers)
        return lower, upper

    def _encode(self, waveforms: Tensor, windows: list[_Window]) -> Tensor:
        """Run the encoder over windows `[W]` of the clips, giving frames `[W, T, D]`."""
        sizes = torch.tensor([window.frames for window in windows], device=waveforms.device)
        whole = self.context == "window"
        most = int(sizes.max())
        frames = self.window_frames if whole else most
        mels = self._mels(waveforms, windows, frames)
        hidden_states = self._embed(mels)  # [W, T, D]
        # As trained, a window's silence is attended to. A clip on its own attends to itself.
        seen = torch.full_like(sizes, frames) if whole else sizes
        states = self.states(hidden_states, seen, most if whole else None)
        if whole and not isinstance(self.layer, int) and self.layer != "last":
            states = (state[:, :most] for state in states)
        return combine(states, self.layer, self.final)

    def _mels(self, waveforms: Tensor, windows: list[_Window], frames: int) -> Tensor:
        """Log-Mels `[W, num_mels, T * 2]` of each window, silence after its end."""
        whole = self.context == "window"
        # A clip on its own gets one more frame, so that silence follows it in any batch.
        samples = (frames if whole else frames + 1) * _FRAME_SAMPLES
        cuts = []
        for window in windows:
            start = window.start * _FRAME_SAMPLES
            cuts.append(waveforms[window.clip, start : start + samples])
        longest = max(len(some) for some in cuts) if whole else samples
        mel_lengths = [(frames if whole else window.frames) * _MELS_PER_FRAME for window in windows]
        return self.log_mel(
            torch.stack([F.pad(some, (0, longest - len(some))) for some in cuts]),
            torch.tensor(mel_lengths),
            frames * _MELS_PER_FRAME if whole else (frames + 1) * _MELS_PER_FRAME,
        )[..., : frames * _MELS_PER_FRAME]

    def _embed(self, mels: Tensor) -> Tensor:
        """From log-Mels `[W, num_mels, T * 2]` to the first layer's input `[W, T, D]`."""
        frames = mels.to(self.conv1.weight.dtype).transpose(1, 2)  # [W, T * 2, num_mels]
        hidden_states = convolve(self.conv1, frames, padding=1, gelu=True)
        hidden_states = convolve(self.conv2, hidden_states, padding=1, gelu=True)  # [W, T, D]
        return hidden_states + self.embed_positions.weight[: hidden_states.shape[1]]


def _cut(frame_lengths: list[int], size: int) -> Iterator[_Window]:
    """Cut clips into windows of at most `size` frames."""
    for clip, length in enumerate(frame_lengths):
        done = 0
        while done < length:
            frames = min(length, size)
            start = min(done, length - frames)
            yield _Window(clip, start, frames, start + frames - done)
            done = start + frames
