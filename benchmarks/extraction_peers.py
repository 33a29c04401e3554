# SPDX-License-Identifier: Apache-2.0
"""Other toolkits' ways from clips to frames, for `extraction.py`, each run by its own code.

Every peer takes the weights of the same transformers model, in batches of 8 clips in file order (or
one by one), as its users do. Speed does not depend on the weights, but that the frames agree shows
that the same network was run.
"""

import copy
import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SAMPLE_RATE = 16_000
BATCH_CLIPS = 8

Encode = Callable[[Sequence[Tensor]], list[Tensor]]
"""From clips, each `[S]`, to the last hidden states of each batch, `[B, T, D]`."""

INSTALL = "pip install -e '.[peers]'"
# The module that each needs beside transformers.
_PACKAGES = {
    "HF batch 8": "transformers",
    "HF one by one": "transformers",
    "S3PRL": "s3prl",
    "SpeechBrain": "speechbrain",
}
PEERS = tuple(_PACKAGES)


def is_installed(peer: str) -> bool:
    """Whether a peer can be run here."""
    return importlib.util.find_spec(_PACKAGES[peer]) is not None


def make_peer(peer: str, model: Any, folder: Path, device: torch.device) -> Encode:
    """Build a peer.

    Args:
        peer: One of `PEERS`.
        model: The transformers model whose weights it takes, on the CPU.
        folder: Where a peer that reads its weights from a file finds it.
        device: Where it runs.
    """
    extractor = _feature_extractor(model.config)
    if peer == "S3PRL":
        return _s3prl(model, folder, device)
    if peer == "SpeechBrain":
        return _speechbrain(model, extractor, folder, device)
    return _transformers(model, extractor, BATCH_CLIPS if peer == "HF batch 8" else 1, device)


def _feature_extractor(config: Any) -> Any:
    """The extractor as the checkpoints' preprocessor_config.json has it."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    if config.model_type == "whisper":
        return WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    # Those with a group norm were trained without a mask, and transformers says to give none.
    masked = config.feat_extract_norm == "layer"
    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked)


def _batches(clips: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    return [clips[start : start + size] for start in range(0, len(clips), size)]


def _transformers(model: Any, extractor: Any, size: int, device: torch.device) -> Encode:
    model = copy.deepcopy(model).to(device)
    options: dict[str, Any] = {"sampling_rate": SAMPLE_RATE, "return_tensors": "pt"}
    # Whisper's extractor pads to 30 s by itself, and computes its log-Mel where it is told to.
    options |= (
        {"device": str(device)} if model.config.model_type == "whisper" else {"padding": True}
    )

    def encode(clips: Sequence[Tensor]) -> list[Tensor]:
        frames = []
        for batch in _batches(clips, size):
            inputs = extractor([clip.numpy() for clip in batch], **options).to(device)
            frames.append(model(**inputs).last_hidden_state)
        return frames

    return encode


def _s3prl(model: Any, folder: Path, device: torch.device) -> Encode:
    """S3PRL's HuBERT expert, which gives all hidden states, from a checkpoint in its own form."""
    # What `s3prl.hub.hubert` calls. The hub itself, and s3prl.nn, cannot be imported beside
    # torchaudio 2.9 or newer: an upstream among them calls torchaudio.set_audio_backend.
    from s3prl.upstream.hubert.expert import UpstreamExpert

    path = folder / "s3prl.pt"
    torch.save(_s3prl_checkpoint(model), path)
    expert = UpstreamExpert(str(path)).to(device).eval()

    def encode(clips: Sequence[Tensor]) -> list[Tensor]:
        frames = []
        for batch in _batches(clips, BATCH_CLIPS):
            frames.append(expert([clip.to(device) for clip in batch])["hidden_states"][-1])
        return frames

    return encode


def _s3prl_checkpoint(model: Any) -> dict[str, Any]:
    """A model of transformers in the form of S3PRL's converted fairseq checkpoints."""
    config = model.config
    layer_norm = config.feat_extract_norm == "layer"
    sizes = [*zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)]
    classes, final_size = 4, 8  # of the pretraining head, which extraction does not run
    weights = {
        _fairseq_name(name, layer_norm): tensor for name, tensor in model.state_dict().items()
    }
    weights["final_proj.weight"] = torch.zeros(final_size, config.hidden_size)
    weights["final_proj.bias"] = torch.zeros(final_size)
    weights["label_embs_concat"] = torch.zeros(classes, final_size)
    return {
        # As the extractor does. S3PRL's own base checkpoint is not normalised: other frames, but
        # the same time.
        "task_cfg": {"normalize": True},
        "model_cfg": {
            "label_rate": 50.0,
            "extractor_mode": "layer_norm" if layer_norm else "default",
            "layer_norm_first": config.do_stable_layer_norm,
            "conv_feature_layers": str(sizes),
            "conv_bias": config.conv_bias,
            "encoder_layers": config.num_hidden_layers,
            "encoder_embed_dim": config.hidden_size,
            "encoder_ffn_embed_dim": config.intermediate_size,
            "encoder_attention_heads": config.num_attention_heads,
            "conv_pos": config.num_conv_pos_embeddings,
            "conv_pos_groups": config.num_conv_pos_embedding_groups,
            "final_dim": final_size,
        },
        "model_weight": weights,
        "dictionaries_symbols": [["symbol"] * classes],
    }


_FAIRSEQ_NAMES = (
    (r"(encoder\.layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"feed_forward\.intermediate_dense", "fc1"),
    (r"feed_forward\.output_dense", "fc2"),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original0", "pos_conv.0.weight_g"),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original1", "pos_conv.0.weight_v"),
    (r"pos_conv_embed\.conv", "pos_conv.0"),
    (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
    (r"feature_projection\.layer_norm", "layer_norm"),
    (r"feature_projection\.projection", "post_extract_proj"),
    (r"masked_spec_embed", "mask_emb"),
)


def _fairseq_name(name: str, layer_norm: bool) -> str:
    for pattern, replacement in _FAIRSEQ_NAMES:
        name = re.sub(pattern, replacement, name)
    # A norm over the channels stands between two transpositions there.
    norm = r"\1.2.1." if layer_norm else r"\1.2."
    return re.sub(r"(conv_layers\.\d+)\.layer_norm\.", norm, name)


def _speechbrain(model: Any, extractor: Any, folder: Path, device: torch.device) -> Encode:
    """SpeechBrain's wrapper of transformers, from a local folder."""
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    from speechbrain.integrations.huggingface.hubert import HuBERT
    from speechbrain.utils.data_utils import batch_pad_right

    # Importing SpeechBrain lets every float32 product of the process run in TF32.
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags
    source = folder / "speechbrain"
    model.save_pretrained(source)
    extractor.save_pretrained(source)
    encoder = HuBERT(str(source), str(folder / "downloads"), freeze=True).to(device).eval()

    def encode(clips: Sequence[Tensor]) -> list[Tensor]:
        frames = []
        for batch in _batches(clips, BATCH_CLIPS):
            waveforms, relative_lengths = batch_pad_right(list(batch))
            frames.append(encoder(waveforms.to(device), relative_lengths.to(device)))
        return frames

    return encode
