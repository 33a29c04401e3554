# SPDX-License-Identifier: Apache-2.0
"""The encoders that `extraction.py` measures: full size, random weights, and what a clip costs."""

from typing import Any

import torch

WHISPER_HOP_SAMPLES = 160

# From the checkpoints' config.json, since nothing is downloaded. Decoders are left out.
_WHISPER = {"num_mel_bins": 80, "max_source_positions": 1500}
_HUBERT = {"conv_bias": False, "feat_extract_norm": "group", "do_stable_layer_norm": False}
_HUBERT_LARGE = {"conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
_WIDTHS = {
    # width, layers, heads, feed-forward width
    "whisper-tiny": (384, 4, 6, 1536),
    "whisper-small": (768, 12, 12, 3072),
    "hubert-base": (768, 12, 12, 3072),
    "hubert-large": (1024, 24, 16, 4096),
}
MODELS = tuple(_WIDTHS)

# Sizes of the same shape in which everything runs in no time, for tests.
_TINY_WIDTHS = {name: (32, 2 if "base" not in name else 8, 2, 48) for name in _WIDTHS}
_TINY_HUBERT = {"conv_dim": (16,) * 7}


def make_model(name: str, tiny: bool = False, seed: int = 0) -> Any:
    """Build an encoder of transformers with random weights.

    Args:
        name: One of `MODELS`.
        tiny: Whether to shrink it, for tests.
        seed: Of the weights.

    Returns:
        A `WhisperEncoder` or `HubertModel` in eval mode, float32, on the CPU.
    """
    from transformers import HubertConfig, HubertModel, WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(seed)
    width, layers, heads, feedforward = (_TINY_WIDTHS if tiny else _WIDTHS)[name]
    if name.startswith("whisper"):
        config = WhisperConfig(
            d_model=width,
            encoder_layers=layers,
            encoder_attention_heads=heads,
            encoder_ffn_dim=feedforward,
            **_WHISPER,
        )
        return WhisperEncoder(config).eval()
    config = HubertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feedforward,
        **(_HUBERT_LARGE if name == "hubert-large" else _HUBERT),
        **(_TINY_HUBERT if tiny else {}),
    )
    return HubertModel(config).eval()


def half_depth(model: Any) -> int:
    """Half of the layers of an encoder."""
    return model.config.num_hidden_layers // 2


def clip_flops(config: Any, samples: int, layers: int, context: str) -> int:
    """Count the floating-point operations that a clip needs by itself, without padding.

    Two for each multiplication of a matrix product or convolution; norms, activations, softmax and
    the log-Mel are left out. For `T` frames of width `D`, feed-forward width `F`, a layer takes

        2 T (4 D² + 2 D F) + 4 T² D

    (query, key, value and output; feed-forward; scores and their weighted sum). A convolution takes
    `2 × frames out × channels in / groups × channels out × kernel`.

    Args:
        config: Of a Whisper or HuBERT model.
        samples: Length of the clip at 16 kHz.
        layers: Transformer layers that are run.
        context: For Whisper, `clip`, or `window`, where all 30 s are the clip's own, however many
            of them are silence.
    """
    if config.model_type == "whisper":
        width, feedforward = config.d_model, config.encoder_ffn_dim
        window = 2 * config.max_source_positions
        mels = window if context == "window" else min(window, samples // WHISPER_HOP_SAMPLES)
        frames = max(1, mels // 2)
        flops = 2 * mels * config.num_mel_bins * width * 3 + 2 * frames * width * width * 3
    else:
        width, feedforward = config.hidden_size, config.intermediate_size
        flops, frames, channels = 0, samples, 1
        for size, kernel, stride in zip(
            config.conv_dim, config.conv_kernel, config.conv_stride, strict=True
        ):
            frames = (frames - kernel) // stride + 1
            flops += 2 * frames * channels * size * kernel
            channels = size
        flops += 2 * frames * channels * width
        per_group = width // config.num_conv_pos_embedding_groups
        flops += 2 * frames * width * per_group * config.num_conv_pos_embeddings
    layer = 2 * frames * (4 * width**2 + 2 * width * feedforward) + 4 * frames**2 * width
    return flops + layers * layer
