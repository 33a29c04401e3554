# SPDX-License-Identifier: Apache-2.0
"""The adapter and SAP on top of a Hugging Face encoder, trained by Hugging Face's `Trainer`.

    python examples/with_hf_trainer.py

`load_backbone` takes the encoder over, frozen; padding changes no frame of it.
"""

import torch
from made_audio import made_clips, tiny_hubert
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import load_backbone, pad_waveforms
from voxadapt.pooling import build_pooler


class OnEncoder(nn.Module):
    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = load_backbone(encoder, layer="last")
        features = self.backbone.spec.feature_size
        self.adapter = WAPTransformer(WAPTransformerConfig(features, 32, heads=2, feedforward=64))
        self.pooler = build_pooler("sap", self.adapter.output_size)
        self.linear = nn.Linear(self.pooler.output_size, classes)

    @torch.no_grad()
    def fit_scale(self, waveforms: list[Tensor]) -> None:
        frames, padding_mask = self.backbone(*pad_waveforms(waveforms))
        real = frames[~padding_mask]
        self.adapter.standardize.set_statistics(real.mean(dim=0), real.std(dim=0))

    def forward(self, waveforms: Tensor, padding_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        frames, frame_mask = self.backbone(waveforms, padding_mask)
        logits = self.linear(self.pooler(self.adapter(frames, frame_mask), frame_mask))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def collate(rows: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    waveforms, padding_mask = pad_waveforms([row[0] for row in rows])
    labels = torch.stack([row[1] for row in rows])
    return {"waveforms": waveforms, "padding_mask": padding_mask, "labels": labels}


def main() -> None:
    model = OnEncoder(tiny_hubert(), classes=2)
    train, test = (list(zip(*made_clips(64, seed=seed), strict=True)) for seed in (1, 2))
    model.fit_scale([waveform for waveform, _ in train])
    options = {"report_to": [], "save_strategy": "no", "use_cpu": True, "disable_tqdm": True}
    options |= {"per_device_train_batch_size": 16, "remove_unused_columns": False}
    arguments = TrainingArguments("out", num_train_epochs=6, learning_rate=2e-3, **options)
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=train)
    trainer.train()
    found = trainer.predict(test)
    print(f"accuracy on new clips: {(found.predictions.argmax(-1) == found.label_ids).mean():.2f}")


if __name__ == "__main__":
    main()
