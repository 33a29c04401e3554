# SPDX-License-Identifier: Apache-2.0
"""Made-up clips, and tiny random encoders of each family, saved as checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

SSL_KINDS = {
    "hubert-group": ("hubert", {"feat_extract_norm": "group"}),
    "hubert-stable": ("hubert", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    "hubert-batch-norm": ("hubert", {"feat_extract_norm": "group", "conv_pos_batch_norm": True}),
    "wav2vec2-group": ("wav2vec2", {"feat_extract_norm": "group"}),
    "wav2vec2-stable": ("wav2vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    "wavlm-group": ("wavlm", {"feat_extract_norm": "group"}),
    "wavlm-stable": ("wavlm", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ssl_kind" in metafunc.fixturenames:
        metafunc.parametrize("ssl_kind", list(SSL_KINDS))


@pytest.fixture
def noise() -> Callable[..., Tensor]:
    """Coloured noise with a level and an offset of its own, as recordings have."""

    def make(samples: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        white = torch.randn(samples, generator=generator)
        return 0.05 * white + 0.1 * torch.sin(torch.arange(samples) * (0.05 + 0.01 * seed)) + 0.02

    return make


def randomize(model: Any, seed: int = 0) -> Any:
    """Give every tensor a size at which a wrong answer shows: the usual init is all but zero."""
    torch.manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif "norm.weight" in name:
                tensor.normal_(1.0, 0.1)
            else:
                tensor.normal_(0.0, 0.3)
    return model.eval()


def ssl_config(kind: str, **changes: Any) -> Any:
    from transformers import HubertConfig, Wav2Vec2Config, WavLMConfig

    family, options = SSL_KINDS[kind]
    config_class = {"hubert": HubertConfig, "wav2vec2": Wav2Vec2Config, "wavlm": WavLMConfig}
    settings = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "conv_dim": (8, 8, 8),
        "conv_kernel": (10, 3, 2),
        "conv_stride": (5, 2, 2),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "num_buckets": 16,
        "max_bucket_distance": 40,
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
        **options,
        **changes,
    }
    return config_class[family](**settings)


@pytest.fixture(scope="session")
def tiny_ssl() -> Callable[..., Any]:
    """Build a tiny model: `tiny_ssl("hubert-group", layerdrop=0.1)`."""
    from transformers import HubertModel, Wav2Vec2Model, WavLMModel

    classes = {"hubert": HubertModel, "wav2vec2": Wav2Vec2Model, "wavlm": WavLMModel}

    def make(kind: str, *, seed: int = 0, **changes: Any) -> Any:
        return randomize(classes[SSL_KINDS[kind][0]](ssl_config(kind, **changes)), seed)

    return make


@pytest.fixture(scope="session")
def ssl_folder(
    tiny_ssl: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint with its feature extractor, saved once for each kind."""
    from transformers import Wav2Vec2FeatureExtractor

    folders: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            tiny_ssl(kind).save_pretrained(folders[kind])
            Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folders[kind])
        return folders[kind]

    return make


@pytest.fixture(scope="session")
def tiny_whisper() -> Callable[..., Any]:
    """Build a tiny `WhisperModel`, with windows of one second unless told otherwise."""
    from transformers import WhisperConfig, WhisperModel

    def make(*, seed: int = 0, **changes: Any) -> Any:
        settings = {
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "vocab_size": 20,
            "num_mel_bins": 80,
            "max_source_positions": 50,
            "max_target_positions": 8,
            "encoder_layerdrop": 0.9,
            "dropout": 0.5,
            "pad_token_id": 0,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "decoder_start_token_id": 0,
            **changes,
        }
        return randomize(WhisperModel(WhisperConfig(**settings)), seed)

    return make


@pytest.fixture(scope="session")
def whisper_folder(
    tiny_whisper: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    tiny_whisper().save_pretrained(folder)
    return folder


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
