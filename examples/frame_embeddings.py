# SPDX-License-Identifier: Apache-2.0
"""The adapter's frames as embeddings for another task: where in a recording is the sound?

    python examples/frame_embeddings.py [ADAPTER]

ADAPTER is a folder that `voxadapt pretrain_adapter` wrote (runs/pretrain/adapter), or a hub id;
left out, a random one on filterbank frames. It stays frozen, and a linear layer learns on it.
"""

import sys

import torch
from made_audio import RATE, made_clips
from torch import Tensor, nn

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import backbone_from_config, load_backbone, pad_waveforms


def load(name: str | None) -> tuple[nn.Module, WAPTransformer]:
    """The adapter and the backbone that it was pretrained on."""
    if name is not None:
        adapter = WAPTransformer.from_pretrained(name)
        return backbone_from_config(adapter.extras["backbone"]), adapter
    backbone = load_backbone("fbank")
    size = WAPTransformerConfig(backbone.spec.feature_size, width=64, feedforward=128)
    return backbone, WAPTransformer(size).eval()


def recordings(count: int, seed: int) -> tuple[list[Tensor], list[tuple[float, float]]]:
    """Noise of 3 s, and from when to when there is a sound in it (seconds)."""
    generator, waveforms, spans = torch.Generator().manual_seed(seed), [], []
    for sound in made_clips(count, seed)[0]:
        waveform = 0.02 * torch.randn(3 * RATE, generator=generator)
        start = int(torch.randint(2 * RATE, (1,), generator=generator))
        waveform[start : start + len(sound)] += sound
        waveforms.append(waveform)
        spans.append((start / RATE, (start + len(sound)) / RATE))
    return waveforms, spans


if __name__ == "__main__":
    torch.manual_seed(0)
    backbone, adapter = load(sys.argv[1] if len(sys.argv) > 1 else None)
    linear, rate = nn.Linear(adapter.output_size, 1), backbone.spec.frame_rate
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.02)
    for part, seed in (("train", 1), ("test", 2)):
        waveforms, spans = recordings(16, seed)
        with torch.no_grad():
            embeddings = adapter(*backbone(*pad_waveforms(waveforms)))  # [B, T, D]
        times = torch.arange(embeddings.shape[1]) / rate  # where each frame begins (seconds)
        sounds = torch.stack([(times >= start) & (times < end) for start, end in spans]).float()
        for _ in range(100 if part == "train" else 0):
            scores = linear(embeddings).squeeze(-1)  # [B, T]
            loss = nn.functional.binary_cross_entropy_with_logits(scores, sounds)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    right = ((linear(embeddings).squeeze(-1) > 0) == sounds.bool()).float().mean()
    print(f"accuracy on new frames: {right:.2f}, of a constant: {1 - sounds.mean():.2f}")
