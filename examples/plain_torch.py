# SPDX-License-Identifier: Apache-2.0
"""The adapter and statistical attentive pooling (SAP) in a plain torch model and loop.

    python examples/plain_torch.py

Frames come from the filterbank here; they may come from anywhere, as `frames [B, T, D]` with
`padding_mask [B, T]`, True = padding.
"""

import torch
from made_audio import made_clips
from torch import Tensor, nn

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import load_backbone, pad_waveforms
from voxadapt.pooling import StatisticalAttentivePooling


class Classifier(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        size = WAPTransformerConfig(input_size=features, width=32, heads=2, feedforward=64)
        self.adapter = WAPTransformer(size)  # or WAPTransformer.from_pretrained("runs/x/adapter")
        self.pooler = StatisticalAttentivePooling(self.adapter.output_size)
        self.linear = nn.Linear(self.pooler.output_size, classes)

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        adapted = self.adapter(frames, padding_mask)  # [B, T, 32]
        return self.linear(self.pooler(adapted, padding_mask))  # [B, C]


def main() -> None:
    torch.manual_seed(0)
    backbone = load_backbone("fbank")
    waveforms, labels = made_clips(64, seed=1)
    frames, padding_mask = backbone(*pad_waveforms(waveforms))  # frozen: computed once
    model = Classifier(backbone.spec.feature_size, classes=2)
    real = frames[~padding_mask]  # the adapter wants the corpus' scale
    model.adapter.standardize.set_statistics(real.mean(dim=0), real.std(dim=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(40):
        rows = torch.arange(step * 16, step * 16 + 16) % len(labels)
        loss = nn.functional.cross_entropy(model(frames[rows], padding_mask[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    waveforms, labels = made_clips(40, seed=2)
    with torch.inference_mode():
        predicted = model(*backbone(*pad_waveforms(waveforms))).argmax(dim=-1)
    print(f"accuracy on new clips: {(predicted == labels).float().mean():.2f}")


if __name__ == "__main__":
    main()
