# SPDX-License-Identifier: Apache-2.0
"""Made-up clips, tiny random encoders of each family, and what transformers gives for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

_GROUP = {"feat_extract_norm": "group"}
_STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
# Model type of each kind, and what sets it apart.
SSL_KINDS = {
    "hubert-group": ("hubert", _GROUP),
    "hubert-stable": ("hubert", _STABLE),
    "hubert-batch-norm": ("hubert", {**_GROUP, "conv_pos_batch_norm": True}),
    "wav2vec2-group": ("wav2vec2", _GROUP),
    "wav2vec2-stable": ("wav2vec2", _STABLE),
    "mms": ("wav2vec2", {**_STABLE, "adapter_attn_dim": 4}),
    "wavlm-group": ("wavlm", _GROUP),
    "wavlm-stable": ("wavlm", _STABLE),
    "unispeech-sat-group": ("unispeech-sat", _GROUP),
    "unispeech-sat-stable": ("unispeech-sat", _STABLE),
    "data2vec": ("data2vec-audio", {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
}
# One of each family, and each way of a layer, a norm and a position embedding.
KINDS = (
    "hubert-group",
    "hubert-batch-norm",
    "wav2vec2-stable",
    "mms",
    "wavlm-group",
    "unispeech-sat-stable",
    "data2vec",
    "wav2vec2-bert",
    "whisper",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ssl_kind" in metafunc.fixturenames:
        metafunc.parametrize("ssl_kind", list(SSL_KINDS))
    if "kind" in metafunc.fixturenames and not any(
        "kind" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    """Coloured noise with a level and an offset of its own, as recordings have."""

    def make(samples: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        white = torch.randn(samples, generator=generator)
        return 0.05 * white + 0.1 * torch.sin(torch.arange(samples) * (0.05 + 0.01 * seed)) + 0.02

    return make


@torch.no_grad()
def randomize(model: Any, seed: int = 0) -> Any:
    """Give every tensor a size at which a wrong answer shows: the usual init is all but zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif "norm.weight" in name:
                tensor.normal_(1.0, 0.1, generator=generator)
            else:
                tensor.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def settings_of(kind: str) -> tuple[str, dict[str, Any]]:
    """The `model_type` and the settings of a tiny model."""
    if kind == "whisper":
        return "whisper", {
            "d_model": 16,
            "encoder_layers": 3,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "vocab_size": 20,
            "num_mel_bins": 80,
            # Windows of one second.
            "max_source_positions": 50,
            "max_target_positions": 8,
            "encoder_layerdrop": 0.9,
            "dropout": 0.5,
            "pad_token_id": 0,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "decoder_start_token_id": 0,
        }
    shared = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "vocab_size": 12,
        # The heads, which some tests save beside the encoder.
        "codevector_dim": 8,
        "num_codevectors_per_group": 4,
        "proj_codevector_dim": 8,
        "classifier_proj_size": 8,
        "tdnn_dim": (8, 8),
        "tdnn_kernel": (3, 3),
        "tdnn_dilation": (1, 1),
        "xvector_output_dim": 8,
        # Off in eval mode; a backbone that left it would be seen at once.
        "layerdrop": 0.9,
        "hidden_dropout": 0.5,
        "mask_time_prob": 0.9,
        "mask_time_length": 2,
    }
    if kind == "wav2vec2-bert":
        positions = {"left_max_position_embeddings": 6, "right_max_position_embeddings": 2}
        return kind, {**shared, **positions, "conv_depthwise_kernel_size": 5}
    model_type, options = SSL_KINDS[kind]
    return model_type, {
        **shared,
        "conv_dim": (8, 8, 8),
        "conv_kernel": (10, 3, 2),
        "conv_stride": (5, 2, 2),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "num_buckets": 16,
        "max_bucket_distance": 40,
        **options,
    }


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., Any]:
    """Build the config of a tiny model: `tiny_config("hubert-group", layerdrop=0.1)`."""
    from transformers import AutoConfig

    def make(kind: str, **changes: Any) -> Any:
        model_type, settings = settings_of(kind)
        return AutoConfig.for_model(model_type, **{**settings, **changes})

    return make


@pytest.fixture(scope="session")
def tiny_model(tiny_config: Callable[..., Any]) -> Callable[..., Any]:
    """Build a tiny model: `tiny_model("whisper", seed=1, encoder_layers=2)`."""
    from transformers import AutoModel

    def make(kind: str, *, seed: int = 0, **changes: Any) -> Any:
        return randomize(AutoModel.from_config(tiny_config(kind, **changes)), seed)

    return make


@pytest.fixture(scope="session")
def checkpoint(
    tiny_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint with its feature extractor, saved once for each kind."""
    from transformers import (
        SeamlessM4TFeatureExtractor,
        Wav2Vec2FeatureExtractor,
        WhisperFeatureExtractor,
    )

    extractors = {"whisper": WhisperFeatureExtractor, "wav2vec2-bert": SeamlessM4TFeatureExtractor}
    folders: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            tiny_model(kind).save_pretrained(folders[kind])
            extractor = extractors.get(kind, Wav2Vec2FeatureExtractor)
            extractor().save_pretrained(folders[kind])
        return folders[kind]

    return make


@pytest.fixture(scope="session")
def reference() -> Callable[..., tuple[list[Tensor], Tensor]]:
    """What transformers gives for a clip alone: each hidden state `[T, D]`, and the last."""
    from transformers import (
        SeamlessM4TFeatureExtractor,
        Wav2Vec2FeatureExtractor,
        WhisperFeatureExtractor,
    )

    @torch.no_grad()
    def run(model: Any, clip: Tensor, *, normalize: bool = True) -> tuple[list[Tensor], Tensor]:
        model_type = model.config.model_type
        if model_type == "whisper":
            extractor = WhisperFeatureExtractor(
                feature_size=model.config.num_mel_bins,
                chunk_length=model.config.max_source_positions // 50,
            )
            frames, model = max(1, len(clip) // 320), model.encoder
        elif model_type == "wav2vec2-bert":
            clip = F.pad(clip, (0, max(0, 560 - len(clip))))
            extractor = SeamlessM4TFeatureExtractor()
            frames = (1 + (len(clip) - 400) // 160) // 2
        else:
            extractor = Wav2Vec2FeatureExtractor(do_normalize=normalize)
            frames = None
        inputs = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
        outputs = model(**inputs, output_hidden_states=True)
        states = [state[0, :frames] for state in outputs.hidden_states]
        return states, outputs.last_hidden_state[0, :frames]

    return run


@pytest.fixture(scope="session")
def run_encoder() -> Callable[..., list[Tensor]]:
    """Run an encoder over clips of a batch, giving the real frames `[T, D]` of each."""
    from voxadapt.backbones import pad_waveforms

    @torch.no_grad()
    def run(encoder: Any, clips: Sequence[Tensor]) -> list[Tensor]:
        waveforms, padding_mask = pad_waveforms(clips)
        missing = max(0, encoder.minimum_samples - waveforms.shape[1])
        frames, lengths = encoder(F.pad(waveforms, (0, missing)), (~padding_mask).sum(dim=1))
        assert torch.isfinite(frames).all()
        return [frame[:length] for frame, length in zip(frames, lengths.tolist(), strict=True)]

    return run


@pytest.fixture(scope="session")
def encode() -> Callable[..., list[Tensor]]:
    """Run a backbone over clips of a batch, giving the real frames `[T, D]` of each."""
    from voxadapt.backbones import pad_waveforms

    def run(backbone: Any, clips: Sequence[Tensor], *, garbage: bool = False) -> list[Tensor]:
        waveforms, padding_mask = pad_waveforms(clips)
        if garbage:
            waveforms = waveforms.masked_fill(padding_mask, math.nan)
            waveforms[:, -1] = torch.where(padding_mask[:, -1], 1e20, waveforms[:, -1])
        frames, frame_padding_mask = backbone(waveforms, padding_mask)
        assert not frames[frame_padding_mask].any()
        assert not frames.requires_grad
        return [clip[~padding] for clip, padding in zip(frames, frame_padding_mask, strict=True)]

    return run


@pytest.fixture(scope="session")
def assert_near() -> Callable[..., None]:
    """Compare to 1e-4 of the values' own scale, which is about 1."""

    def compare(actual: Tensor, expected: Tensor) -> None:
        assert actual.shape == expected.shape
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(actual, expected, atol=1e-4 * scale, rtol=0)

    return compare


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model, which is no backbone."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    BertModel(
        BertConfig(
            vocab_size=10,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE=1, also where huggingface_hub was imported before."""
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
