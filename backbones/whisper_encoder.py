# SPDX-License-Identifier: Apache-2.0
"""The encoder of Whisper as a frozen backbone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .base import (
    BackboneError,
    BackboneSpec,
    freeze,
    padding_mask_from_lengths,
    prepare_waveforms,
)
from .checkpoint_loading import load_checkpoint, read_model_type
from .fingerprint import fingerprint_of
from .layer_choice import choose_layer
from .whisper_log_mel import MEL_HOP_SAMPLES, WhisperLogMel

WHISPER_MODEL_TYPE = "whisper"

# Raise with every change here or in the log-Mel that changes a feature's value.
_CODE_VERSION = 1
_CONTEXTS = ("window", "clip")
# The second convolution has stride 2, so two Mel frames make one.
_MELS_PER_FRAME = 2
_FRAME_SAMPLES = MEL_HOP_SAMPLES * _MELS_PER_FRAME
# A window costs its 30 s however short the clip, so a batch of a few minutes is run in parts.
_WINDOWS_AT_ONCE = 16
# Whole models keep the encoder under `model.encoder.` or `encoder.`. The rest is not needed: the
# decoder, the head of transcription, and those of audio classification.
_KEY_MAPPING = {r"^(model\.)?encoder\.": ""}
_MAY_BE_UNEXPECTED = (
    r"(model\.)?decoder\.",
    r"proj_out\.",
    r"projector\.",
    r"classifier\.",
    r"layer_weights$",
)


class WhisperEncoderBackbone(nn.Module):
    """The frozen encoder of a Whisper checkpoint, up to one layer; the decoder is not loaded.

    One frame is 320 samples (20 ms). Only frames of the clip itself come out:
    `max(1, samples // 320)` of them, so the padding to 30 s dilutes no pooling.

    Layer `k` is `hidden_states[k]` of transformers' encoder, and `last` its `last_hidden_state`;
    for the top layer they are the same, after the final LayerNorm.

    Clips over 30 s are cut in windows of 30 s whose frames are joined. The last window reaches back
    to be 30 s long as well, and gives the frames that are still missing: a sliver of a second in
    29 s of silence would be encoded badly.

    `context` says what the encoder sees around a clip:

    - `window` (default): the clip, then silence up to 30 s, as Whisper was trained. It costs 30 s
      of computation for each clip.
    - `clip`: the clip only, with the first of the position embeddings. Short clips are many times
      cheaper, but these are *other features*, which Whisper was not trained to give: pretrain,
      train and predict with the same choice. The fingerprint tells the two apart.

    Example:
        >>> backbone = WhisperEncoderBackbone.from_pretrained("openai/whisper-tiny", layer=3)
    """

    def __init__(
        self,
        encoder: Any,
        *,
        layer: int | str = "last",
        context: str = "window",
        name: str = "in memory",
        revision: str | None = None,
    ) -> None:
        """Take over a loaded encoder; `from_pretrained` and `from_model` are the ways in."""
        super().__init__()
        config = encoder.config
        if context not in _CONTEXTS:
            raise BackboneError(
                f"context is {context!r}, but 'window' (padded to 30 s, as trained) or 'clip' is "
                "needed."
            )
        if config.model_type != WHISPER_MODEL_TYPE:
            raise BackboneError(_wrong_family(name, config.model_type))
        self.name = name
        self.revision = revision
        self.context = context
        self.layer = choose_layer(layer, config.encoder_layers, name)
        depth = config.encoder_layers if self.layer == "last" else self.layer
        self.log_mel = WhisperLogMel(config.num_mel_bins)
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.embed_positions = encoder.embed_positions
        self.layers = encoder.layers[:depth]
        whole = depth == config.encoder_layers
        self.layer_norm = encoder.layer_norm if whole else nn.Identity()
        self.window_frames = int(config.max_source_positions)
        freeze(self)
        self._description = {
            "type": "whisper",
            "code": _CODE_VERSION,
            "layers": depth,
            "context": context,
            "activation_function": config.activation_function,
            "encoder_attention_heads": config.encoder_attention_heads,
            "num_mel_bins": config.num_mel_bins,
        }
        self.spec = BackboneSpec(
            name=name,
            feature_size=config.d_model,
            frame_rate=16_000 / _FRAME_SAMPLES,
            minimum_samples=_FRAME_SAMPLES,
            layers=depth,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        layer: int | str = "last",
        revision: str | None = None,
        context: str = "window",
    ) -> WhisperEncoderBackbone:
        """Load a checkpoint, strictly, from the hub or a local folder.

        Args:
            name_or_path: Hub id, or a folder with `config.json` and `model.safetensors`.
            layer: 0 (the input of the first layer) to the number of layers, or `last`.
            revision: Branch, tag or commit on the hub.
            context: `window` or `clip`, see the class.

        Returns:
            The backbone, frozen, in float32, on the CPU.

        Raises:
            BackboneError: No such checkpoint, layer or context, another family, or weights that do
                not fit.
        """
        model_type = read_model_type(name_or_path, revision)
        if model_type != WHISPER_MODEL_TYPE:
            raise BackboneError(_wrong_family(name_or_path, model_type))
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        encoder = load_checkpoint(
            WhisperEncoder,
            name_or_path,
            revision,
            may_be_unexpected=_MAY_BE_UNEXPECTED,
            key_mapping=_KEY_MAPPING,
        )
        # On the hub a branch moves on; the commit that was loaded does not.
        commit = getattr(encoder.config, "_commit_hash", None)
        return cls(
            encoder, layer=layer, context=context, name=name_or_path, revision=commit or revision
        )

    @classmethod
    def from_model(
        cls,
        model: Any,
        *,
        layer: int | str = "last",
        context: str = "window",
        name: str = "in memory",
    ) -> WhisperEncoderBackbone:
        """Take over a model that is already in memory.

        Its modules are frozen where they are, so give a copy if you go on using it.

        Args:
            model: A `WhisperModel`, or its encoder.
            layer: 0 (the input of the first layer) to the number of layers, or `last`.
            context: `window` or `clip`, see the class.
            name: What `spec` and error messages call it.

        Returns:
            The backbone, frozen.

        Raises:
            BackboneError: Another family, or no such layer or context.
        """
        encoder = model.get_encoder() if hasattr(model, "get_encoder") else model
        return cls(encoder, layer=layer, context=context, name=name)

    def train(self, mode: bool = True) -> WhisperEncoderBackbone:
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
        frame_lengths = (lengths // _FRAME_SAMPLES).clamp(min=1)  # [B]
        windows = list(self._windows(frame_lengths.tolist()))
        parts: list[list[Tensor]] = [[] for _ in waveforms]
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            some = windows[first : first + _WINDOWS_AT_ONCE]
            for (clip, _, size, keep), encoded in zip(
                some, self._encode(waveforms, some), strict=True
            ):
                parts[clip].append(encoded[size - keep : size])
        frames = pad_sequence([torch.cat(clip) for clip in parts], batch_first=True)  # [B, T, D]
        return frames, padding_mask_from_lengths(frame_lengths, frames.shape[1])

    def _windows(self, frame_lengths: list[int]) -> Iterator[tuple[int, int, int, int]]:
        """Give clip, first frame, frames, and how many frames at the end of it are new."""
        for clip, length in enumerate(frame_lengths):
            done = 0
            while done < length:
                size = min(length, self.window_frames)
                start = min(done, length - size)
                yield clip, start, size, start + size - done
                done = start + size

    def _encode(self, waveforms: Tensor, windows: list[tuple[int, int, int, int]]) -> Tensor:
        """Run the encoder over windows `[W]` of the clips, giving frames `[W, T, D]`."""
        sizes = torch.tensor([size for _, _, size, _ in windows], device=waveforms.device)
        whole = self.context == "window"
        frames = self.window_frames if whole else int(sizes.max())
        # The spectrogram reflects what it is given at its end. In a window that is as trained, but
        # a clip on its own gets one more frame, so that silence follows it in any batch.
        samples = (frames if whole else frames + 1) * _FRAME_SAMPLES
        cuts = []
        for clip, start, _, _ in windows:
            cut = waveforms[clip, start * _FRAME_SAMPLES :][:samples]
            cuts.append(F.pad(cut, (0, samples - len(cut))))
        mel_lengths = (torch.full_like(sizes, frames) if whole else sizes) * _MELS_PER_FRAME
        mels = self.log_mel(torch.stack(cuts), mel_lengths)[..., : frames * _MELS_PER_FRAME]
        hidden_states = F.gelu(self.conv1(mels.to(self.conv1.weight.dtype)))  # [W, D, T * 2]
        hidden_states = F.gelu(self.conv2(hidden_states)).transpose(1, 2)  # [W, T, D]
        hidden_states = hidden_states + self.embed_positions.weight[:frames]
        # As trained, a window's silence is attended to. A clip on its own attends to itself.
        attention_mask = None
        if not whole:
            padding_mask = padding_mask_from_lengths(sizes, frames)[:, None, None]
            # Added to the scores, which every implementation of attention understands.
            attention_mask = torch.zeros(padding_mask.shape).to(hidden_states)
            attention_mask.masked_fill_(padding_mask, torch.finfo(hidden_states.dtype).min)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask)
        return self.layer_norm(hidden_states)

    def config(self) -> dict[str, Any]:
        """JSON-able; `backbone_from_config` builds the same backbone from it."""
        return {
            "type": "whisper",
            "name_or_path": self.name,
            "revision": self.revision,
            "layer": self.layer,
            "context": self.context,
        }

    def fingerprint(self) -> str:
        """64 hexadecimal digits that are the same exactly when the features are the same."""
        return fingerprint_of(self._description, self)


def _wrong_family(name: str, model_type: str) -> str:
    return (
        f"{name} is a {model_type!r} checkpoint, but a Whisper one is needed here: load_backbone "
        "takes HuBERT, wav2vec 2.0 and WavLM checkpoints too."
    )
