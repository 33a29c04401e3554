# SPDX-License-Identifier: Apache-2.0
"""Any supported Hugging Face encoder as a frozen backbone."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .base import (
    BackboneError,
    BackboneSpec,
    freeze,
    padding_mask_from_lengths,
    prepare_waveforms,
)
from .checkpoint_loading import (
    find_commit,
    read_licence,
    read_model_type,
    read_preprocessor,
)
from .families import FAMILIES, Family, family_list
from .fingerprint import fingerprint_of
from .layer_choice import choose_layer, layer_outputs
from .ssl_encoder import SSLEncoder
from .wav2vec2_bert import Wav2Vec2BertEncoder
from .whisper_encoder import WhisperEncoder

Precision = Literal["fp32", "bf16"]
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Seconds of padded audio in a batch: big ones are better for the matrix products, small ones keep
# the rest in a CPU's cache. The GPU's is a guess, to be measured on one.
_CPU_BATCH_SECONDS = {"fp32": 30.0, "bf16": 12.0}
_GPU_BATCH_SECONDS = 240.0


class EncoderBackbone(nn.Module):
    """The frozen encoder of a HuBERT, wav2vec 2.0, WavLM, Whisper ... checkpoint.

    A clip gives the same frames alone and in a padded batch, for the checkpoints with GroupNorm
    too (see `ConvolutionalFrontEnd`). Layers above the highest one asked for are neither run nor
    kept in memory. The families are in `voxadapt.backbones.families`; what their layers and their
    preprocessing mean is said in `SSLEncoder`, `Wav2Vec2BertEncoder` and `WhisperEncoder`.

    Example:
        >>> backbone = EncoderBackbone.from_pretrained("facebook/hubert-base-ls960", layer=9)
        >>> frames, padding_mask = backbone(*pad_waveforms([read_audio("clip.wav")]))
    """

    def __init__(
        self,
        encoder: SSLEncoder | Wav2Vec2BertEncoder | WhisperEncoder,
        family: Family,
        *,
        name: str | None,
        revision: str | None = None,
        precision: Precision = "fp32",
        licence: str | None = None,
    ) -> None:
        """Freeze an encoder; `from_pretrained` and `from_model` are the ways in."""
        super().__init__()
        if precision not in _TYPES:
            raise BackboneError(f"precision is {precision!r}, but 'fp32' or 'bf16' is needed.")
        self.encoder = encoder
        self.family = family
        self.name = name
        self.revision = revision
        self.layer = encoder.layer
        self.precision = precision
        freeze(self.float())
        # Of the weights in float32, whatever they are computed in.
        self._fingerprint = None if precision == "fp32" else self._hash()
        self.to(_TYPES[precision])
        outputs = layer_outputs(encoder.layer, encoder.depth)
        self.spec = BackboneSpec(
            name=name or "in memory",
            feature_size=encoder.width * outputs,
            frame_rate=encoder.frame_rate,
            minimum_samples=encoder.minimum_samples,
            layers=encoder.depth,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
            layer_outputs=outputs,
            receptive_field=encoder.receptive_field,
            normalization=encoder.normalization,
            licence=licence,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        layer: int | str = "last",
        revision: str | None = None,
        normalize: bool | None = None,
        whisper_context: str = "window",
        precision: Precision = "fp32",
    ) -> EncoderBackbone:
        """Load a checkpoint, strictly, from the hub or a local folder.

        Args:
            name_or_path: Hub id, or a folder with `config.json` and `model.safetensors`.
            layer: 0 (the input of the first layer) to the number of layers, `last`, `mean` (of
                all, the input of the first included), or `weighted` (all side by side, for a
                learnable sum: `spec.layer_outputs` of them in a frame).
            revision: Branch, tag or commit on the hub.
            normalize: Whether waveforms are normalised per clip; None reads it from the
                checkpoint's `preprocessor_config.json`. For wav2vec 2.0 and its relatives.
            whisper_context: What a Whisper encoder sees around a clip: `window` or `clip`, see
                `WhisperEncoder`. No other family reads it.
            precision: What it is computed in. The frames that come out are float32 either way.

        Returns:
            The backbone, frozen, on the CPU.

        Raises:
            BackboneError: No such checkpoint or layer, another family, weights that do not fit, or
                settings that are not supported.
        """
        # On the hub a branch moves on; the commit that is loaded does not.
        revision = find_commit(name_or_path, revision) or revision
        model_type = read_model_type(name_or_path, revision)
        family = _family(model_type, name_or_path)
        preprocessor = read_preprocessor(name_or_path, revision)
        if normalize is None:
            normalize = preprocessor.get("do_normalize")
        model = family.load(name_or_path, revision)
        return cls(
            _build(family, model, layer, normalize, whisper_context, name_or_path),
            family,
            name=name_or_path,
            revision=revision,
            precision=precision,
            licence=read_licence(name_or_path, revision),
        )

    @classmethod
    def from_model(
        cls,
        model: Any,
        *,
        layer: int | str = "last",
        normalize: bool | None = None,
        whisper_context: str = "window",
        precision: Precision = "fp32",
        name: str | None = None,
    ) -> EncoderBackbone:
        """Take over a model of transformers that is already in memory.

        Its modules are frozen and cut where they are, so give a copy if you go on using it.

        Args:
            model: A bare model, such as `HubertModel`, or one with a head, whose head is left out.
            layer: As for `from_pretrained`.
            normalize: Whether waveforms are normalised per clip; None decides by the family and
                `feat_extract_norm`.
            whisper_context: As for `from_pretrained`.
            precision: As for `from_pretrained`.
            name: A hub id or folder from which the same model can be loaded again. Without one, a
                classifier that is saved on this backbone must be given it when it is loaded.

        Returns:
            The backbone, frozen, on the device of the model.

        Raises:
            BackboneError: Another family, or no such layer.
        """
        config = getattr(model, "config", None)
        model_type = str(getattr(config, "model_type", type(model).__name__))
        called = name or f"the {type(model).__name__} given"
        family = _family(model_type, called)
        # Models with a head keep the bare one under a name that they tell.
        bare = getattr(model, getattr(model, "base_model_prefix", ""), model)
        if family.kind == "whisper":
            bare = getattr(bare, "encoder", bare)
        try:
            encoder = _build(family, bare, layer, normalize, whisper_context, called)
        except AttributeError as error:
            raise BackboneError(
                f"{called} is of the family {family.title} but has no encoder ({error}): give a "
                f"{family.model_class}, or a model with a head on one."
            ) from error
        return cls(encoder, family, name=name, precision=precision)

    @property
    def preferred_batch_seconds(self) -> float:
        """Seconds of padded audio to a batch that were found fast on this kind of device."""
        device = next(self.parameters()).device.type
        return _CPU_BATCH_SECONDS[self.precision] if device == "cpu" else _GPU_BATCH_SECONDS

    def compile_layers(self) -> EncoderBackbone:
        """Run the layers through `torch.compile` from here on, and return the backbone.

        The first batches wait for the compiler; one graph serves all layers and lengths. It is
        meant for a GPU: on a CPU the kernels that are used without it are faster (HuBERT base: 27
        against 17 seconds of audio a second). What the features change by is rounding.

        Raises:
            BackboneError: The family's attention has a bias of its own, for which `torch.compile`
                would make a graph for each layer and length.
        """
        if not self.family.can_be_compiled:
            raise BackboneError(
                f"{self.spec.name} is of the family {self.family.title}, whose attention adds a "
                "bias that torch.compile cannot take as one graph: leave --compile out."
            )
        self.encoder.run_layer = torch.compile(self.encoder.run_layer, dynamic=True)
        return self

    def train(self, mode: bool = True) -> EncoderBackbone:
        """Stay in eval mode, whatever a parent module asks for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a right-padded batch.

        Args:
            waveforms: `[B, S]` float, mono at 16 kHz, in about -1..1.
            padding_mask: `[B, S]` bool, True = padding.

        Returns:
            Frames `[B, T, D]` float32, zero on padding, and their padding mask `[B, T]` bool.

        Raises:
            ValueError: Wrong shapes or types, or a clip with no real sample.
        """
        waveforms, lengths = prepare_waveforms(waveforms, padding_mask, self.spec.minimum_samples)
        # Mixed precision around it would change the features: this one has its own.
        with torch.autocast(waveforms.device.type, enabled=False):
            frames, frame_lengths = self.encoder(waveforms, lengths)  # [B, T, D], [B]
        frame_mask = padding_mask_from_lengths(frame_lengths, frames.shape[1])
        return frames.float().masked_fill(frame_mask[..., None], 0.0), frame_mask

    def config(self) -> dict[str, Any]:
        """JSON-able; `backbone_from_config` builds the same backbone from it."""
        options: dict[str, Any] = {
            "type": "encoder",
            "name_or_path": self.name,
            "revision": self.revision,
            "layer": self.layer,
        }
        if isinstance(self.encoder, SSLEncoder):
            options["normalize"] = self.encoder.normalize
        if isinstance(self.encoder, WhisperEncoder):
            options["whisper_context"] = self.encoder.context
        return options

    def fingerprint(self) -> str:
        """64 hexadecimal digits that are the same exactly when the features are the same.

        The same, that is, to the precision that they are computed in: see `cache_key`.
        """
        # Frozen weights do not change, and hashing a large encoder takes a second or two.
        if self._fingerprint is None:
            self._fingerprint = self._hash()
        return self._fingerprint

    def cache_key(self) -> str:
        """As `fingerprint`, but another one for each precision."""
        return hashlib.sha256(f"{self.fingerprint()} {self.precision}".encode()).hexdigest()

    def _hash(self) -> str:
        return fingerprint_of(self.encoder.description, self.encoder)


def _family(model_type: str, name: str) -> Family:
    family = FAMILIES.get(model_type)
    if family is None:
        raise BackboneError(
            f"{name} is a {model_type!r} checkpoint, but an encoder of speech is needed, of one of "
            f"these families: {family_list()}. fbank, the filterbank, needs no checkpoint."
        )
    return family


def _build(
    family: Family,
    model: Any,
    layer: int | str,
    normalize: bool | None,
    whisper_context: str,
    name: str,
) -> SSLEncoder | Wav2Vec2BertEncoder | WhisperEncoder:
    config = model.config
    if family.kind == "whisper":
        chosen = choose_layer(layer, config.encoder_layers, name)
        return WhisperEncoder(model, chosen, context=whisper_context)
    chosen = choose_layer(layer, config.num_hidden_layers, name)
    if family.kind == "wav2vec2-bert":
        return Wav2Vec2BertEncoder(model, chosen, name=name)
    return SSLEncoder(model, chosen, normalize=normalize, name=name)
