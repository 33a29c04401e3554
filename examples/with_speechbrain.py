# SPDX-License-Identifier: Apache-2.0
"""The adapter and SAP inside a SpeechBrain recipe, in the place of its encoder and its pooling.

    pip install speechbrain
    python examples/with_speechbrain.py

SpeechBrain gives lengths as shares of the longest clip; here they become a padding mask.
"""

import speechbrain
import torch
from made_audio import made_clips
from speechbrain.dataio.dataset import DynamicItemDataset
from torch import Tensor, nn

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import load_backbone
from voxadapt.pooling import build_pooler


class SpeechBrain(speechbrain.Brain):
    def compute_forward(self, batch, stage) -> Tensor:
        waveforms, shares = batch.to(self.device).sig
        samples = (shares * waveforms.shape[1]).round()
        padding_mask = torch.arange(waveforms.shape[1], device=self.device) >= samples[:, None]
        frames, frame_mask = self.modules.backbone(waveforms, padding_mask)
        pooled = self.modules.pooler(self.modules.adapter(frames, frame_mask), frame_mask)
        return self.modules.linear(pooled)

    def compute_objectives(self, predictions: Tensor, batch, stage) -> Tensor:
        labels = batch.label.data.squeeze(dim=1)
        self.right += [(predictions.argmax(dim=-1) == labels).float()]
        return nn.functional.cross_entropy(predictions, labels)

    def on_stage_start(self, stage, epoch=None) -> None:
        self.right: list[Tensor] = []

    def on_stage_end(self, stage, stage_loss, epoch=None) -> None:
        if stage == speechbrain.Stage.TEST:
            print(f"accuracy on new clips: {torch.cat(self.right).mean():.2f}")


def dataset(seed: int) -> DynamicItemDataset:
    clips = zip(*made_clips(64, seed), strict=True)
    rows = {str(n): {"sig": sig, "label": label[None]} for n, (sig, label) in enumerate(clips)}
    return DynamicItemDataset(rows, output_keys=["id", "sig", "label"])


if __name__ == "__main__":
    torch.manual_seed(0)
    backbone = load_backbone("fbank")
    size = WAPTransformerConfig(backbone.spec.feature_size, width=32, heads=2, feedforward=64)
    modules = {"backbone": backbone, "adapter": WAPTransformer(size), "linear": nn.Linear(64, 2)}
    modules["pooler"] = build_pooler("sap", input_size=32)
    brain = SpeechBrain(modules, lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
    loading = {"batch_size": 16}
    brain.fit(range(12), dataset(seed=1), train_loader_kwargs=loading, progressbar=False)
    brain.evaluate(dataset(seed=2), test_loader_kwargs=loading, progressbar=False)
