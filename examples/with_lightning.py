# SPDX-License-Identifier: Apache-2.0
"""The adapter and a pooler in a `LightningModule`.

pip install lightning
python examples/with_lightning.py
"""

import lightning
import torch
from made_audio import made_clips
from torch import Tensor, nn
from torch.utils.data import DataLoader

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import load_backbone, pad_waveforms
from voxadapt.pooling import build_pooler


class SpeechModule(lightning.LightningModule):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = load_backbone("fbank")  # frozen, and stays in eval mode by itself
        size = WAPTransformerConfig(self.backbone.spec.feature_size, 32, heads=2, feedforward=64)
        self.adapter = WAPTransformer(size)
        self.pooler = build_pooler("qkv", self.adapter.output_size)
        self.linear = nn.Linear(self.pooler.output_size, classes)

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> Tensor:
        frames, frame_mask = self.backbone(waveforms, padding_mask)
        return self.linear(self.pooler(self.adapter(frames, frame_mask), frame_mask))

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        waveforms, padding_mask, labels = batch
        return nn.functional.cross_entropy(self(waveforms, padding_mask), labels)

    def test_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        right = self(*batch[:2]).argmax(dim=-1) == batch[2]
        self.log("accuracy", right.float().mean(), batch_size=len(right))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def load(seed: int) -> DataLoader:
    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        waveforms, labels = zip(*rows, strict=True)
        return *pad_waveforms(waveforms), torch.stack(labels)

    clips = list(zip(*made_clips(64, seed), strict=True))
    return DataLoader(clips, batch_size=16, collate_fn=collate)


if __name__ == "__main__":
    lightning.seed_everything(0)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=12, accelerator="cpu", **quiet)
    model = SpeechModule(classes=2)
    trainer.fit(model, load(seed=1))
    (found,) = trainer.test(model, load(seed=2), verbose=False)
    print(f"accuracy on new clips: {found['accuracy']:.2f}")
