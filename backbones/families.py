# SPDX-License-Identifier: Apache-2.0
"""The families of encoders, by the `model_type` of their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .checkpoint_loading import load_checkpoint

# What a wav2vec 2.0 checkpoint or a relative's may hold beyond the encoder: the heads of
# pretraining (quantiser, projections, HuBERT's label embeddings), of CTC and of classification, and
# the embedding of masked frames, which exists in the model only where masking is configured.
_HEADS = (
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
    r"speaker_proj\.",
    r"label_embeddings_concat$",
    r"layer_norm_for_extract\.",
    r"([a-z0-9_]+\.)?masked_spec_embed$",
)


@dataclass(frozen=True)
class Family:
    """How checkpoints of one `model_type` are loaded.

    Attributes:
        title: What people call it.
        kind: Which of our encoders runs it.
        model_class: The class of transformers that holds the weights.
        may_be_missing: Regular expressions, matched from a key's beginning, of weights that the
            model has but the encoder does not need.
        may_be_unexpected: The same of weights that a checkpoint has for other purposes.
        key_mapping: Regular expressions to replacements, to rename the checkpoint's keys.
        lora_targets: Names of the linear layers that LoRA is put on: the attention's query and
            value, as in the LoRA paper (arXiv 2106.09685, section 7.1).
        can_be_compiled: Whether `torch.compile` makes one graph of its layers.
    """

    title: str
    kind: Literal["ssl", "wav2vec2-bert", "whisper"]
    model_class: str
    may_be_missing: tuple[str, ...] = (r"masked_spec_embed$",)
    may_be_unexpected: tuple[str, ...] = _HEADS
    key_mapping: Mapping[str, str] = field(default_factory=dict)
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    can_be_compiled: bool = True

    def load_class(self) -> Any:
        """Import the class of transformers."""
        import transformers
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        if self.kind == "whisper":
            return WhisperEncoder
        return getattr(transformers, self.model_class)

    def load(self, name: str, revision: str | None = None) -> Any:
        """Load a checkpoint of the family by `load_checkpoint`.

        Args:
            name: Hub id, or a local folder.
            revision: Branch, tag or commit on the hub.

        Raises:
            BackboneError: No such checkpoint, or weights that do not fit.
        """
        return load_checkpoint(
            self.load_class(),
            name,
            revision,
            may_be_missing=self.may_be_missing,
            may_be_unexpected=self.may_be_unexpected,
            key_mapping=dict(self.key_mapping),
        )


FAMILIES: dict[str, Family] = {
    "hubert": Family("HuBERT", "ssl", "HubertModel"),
    "wav2vec2": Family("wav2vec 2.0 (XLS-R, MMS)", "ssl", "Wav2Vec2Model"),
    "wavlm": Family("WavLM", "ssl", "WavLMModel", can_be_compiled=False),
    "unispeech-sat": Family("UniSpeech-SAT", "ssl", "UniSpeechSatModel"),
    "data2vec-audio": Family("data2vec-audio", "ssl", "Data2VecAudioModel"),
    "wav2vec2-bert": Family(
        "Wav2Vec2-BERT",
        "wav2vec2-bert",
        "Wav2Vec2BertModel",
        lora_targets=("linear_q", "linear_v"),
        can_be_compiled=False,
    ),
    "whisper": Family(
        "Whisper",
        "whisper",
        "WhisperEncoder",
        may_be_missing=(),
        # The decoder, the head of transcription, and those of audio classification.
        may_be_unexpected=(
            r"(model\.)?decoder\.",
            r"proj_out\.",
            r"projector\.",
            r"classifier\.",
            r"layer_weights$",
        ),
        # Whole models keep the encoder under `model.encoder.` or `encoder.`.
        key_mapping={r"^(model\.)?encoder\.": ""},
    ),
}


def family_list() -> str:
    """The families, for error messages."""
    return ", ".join(family.title for family in FAMILIES.values())
