# SPDX-License-Identifier: Apache-2.0
"""The models that `inference.py` measures: one of transformers and ours on the same encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from voxadapt import SpeechClassifier
from voxadapt.adapters import FeatureStandardizer, WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import FilterbankBackbone, Precision, load_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.pooling import build_pooler

SAMPLE_RATE = 16_000
LABELS = ["angry", "happy", "neutral", "sad"]
# Speed does not depend on the weights, which are random.
_HUBERT: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "conv_dim": (64,) * 7,
    },
    # The configuration of facebook/hubert-base-ls960.
    "base": {},
}
SIZES = tuple(_HUBERT)


def make_hubert(size: str) -> Any:
    """A `HubertForSequenceClassification` in eval mode, with random weights.

    Args:
        size: One of `SIZES`.
    """
    from transformers import HubertConfig, HubertForSequenceClassification

    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    config = HubertConfig(
        **_HUBERT[size], id2label=names, label2id={name: row for row, name in names.items()}
    )
    return HubertForSequenceClassification(config).eval()


def save_hubert(model: Any, folder: Path) -> None:
    """Save the model with what is done to waveforms before it."""
    model.save_pretrained(folder)
    _extractor().save_pretrained(folder)


def make_pipeline(model: Any) -> Any:
    """The audio-classification pipeline of transformers around a model, in float32 on the CPU."""
    from transformers import pipeline

    return pipeline(
        "audio-classification", model=model, feature_extractor=_extractor(), device="cpu"
    )


def _extractor() -> Any:
    """As the preprocessor_config.json of facebook/hubert-base-ls960 has it."""
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)


def make_ours(folder: Path, precision: Precision) -> SpeechClassifier:
    """Statistical attentive pooling and a linear layer on the encoder in a folder."""
    backbone = load_backbone(str(folder), precision=precision)
    size = backbone.spec.feature_size
    torch.manual_seed(0)
    pooler = build_pooler("sap", size)
    head = FrameClassifier(FeatureStandardizer(size), pooler, len(LABELS))
    return SpeechClassifier(backbone, head, LABELS).eval()


def make_filterbank_model() -> SpeechClassifier:
    """The filterbank under a WAP-Transformer of the default size and statistical pooling."""
    torch.manual_seed(0)
    backbone = FilterbankBackbone()
    config = WAPTransformerConfig(input_size=backbone.spec.feature_size)
    head = FrameClassifier(WAPTransformer(config), build_pooler("sap", config.width), len(LABELS))
    return SpeechClassifier(backbone, head, LABELS).eval()


def frames_agree(model: Any, ours: SpeechClassifier, clip: np.ndarray) -> float:
    """The largest difference between the last hidden states of both, relative to their size."""
    inputs = _extractor()(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt")
    waveform = torch.from_numpy(clip)[None]
    with torch.inference_mode():
        expected = model.hubert(**inputs).last_hidden_state
        frames, _ = ours.backbone(waveform, torch.zeros(waveform.shape, dtype=torch.bool))
    return float((frames - expected).abs().max() / expected.abs().max())


def draw_clips(count: int, seconds: float) -> list[np.ndarray]:
    """Clips ``[S]`` float32 at 16 kHz of noise; what they hold plays no part in speed."""
    random = np.random.default_rng(0)
    samples = round(seconds * SAMPLE_RATE)
    return [(0.1 * random.standard_normal(samples)).astype(np.float32) for _ in range(count)]
