# SPDX-License-Identifier: Apache-2.0
"""Made-up clips and a tiny encoder, so that the examples run anywhere in seconds.

With your own data: read files by `voxadapt.backbones.read_audio`, and take an encoder that has been
trained, such as `HubertModel.from_pretrained("facebook/hubert-base-ls960")`.
"""

import numpy as np
import torch
from torch import Tensor
from transformers import HubertConfig, HubertModel

RATE = 16_000


def made_clips(count: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """Voice-like buzzes (1) and hisses (0) of 0.4 to 0.8 s: waveforms ``[S]``, labels ``[N]``."""
    random, waveforms = np.random.default_rng(seed), []
    labels = torch.arange(count) % 2
    for is_buzz in labels.tolist():
        time = np.arange(round(RATE * random.uniform(0.4, 0.8))) / RATE
        phase = 2 * np.pi * random.uniform(100, 300) * time
        buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 9))
        hiss = random.standard_normal(len(time))
        shares = (0.1, 0.01) if is_buzz else (0.02, 0.1)
        sound = random.uniform(0.5, 2) * (shares[0] * buzz + shares[1] * hiss)
        waveforms.append(torch.tensor(sound, dtype=torch.float32))
    return waveforms, labels


def tiny_hubert() -> HubertModel:
    """A HuBERT of two layers with random weights: 32 features, 50 frames a second."""
    torch.manual_seed(0)
    convolutions = {"conv_dim": (32,) * 3, "conv_kernel": (10, 8, 4), "conv_stride": (10, 8, 4)}
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        feat_extract_norm="layer",
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        layerdrop=0.0,
        apply_spec_augment=False,
        **convolutions,
    )
    return HubertModel(config)
