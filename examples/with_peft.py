# SPDX-License-Identifier: Apache-2.0
"""LoRA in the encoder through peft, and the adapter with SAP on top; both saved and loaded back.

    python examples/with_peft.py

(`voxadapt finetune --lora r=8` does this without a line of code.)
"""

import tempfile

import torch
from made_audio import made_clips, tiny_hubert
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import pad_waveforms
from voxadapt.pooling import build_pooler


class OnLora(nn.Module):
    def __init__(self, encoder: nn.Module, adapter: WAPTransformer, classes: int) -> None:
        super().__init__()
        self.encoder, self.adapter = encoder, adapter
        self.pooler = build_pooler("sap", adapter.output_size)
        self.linear = nn.Linear(self.pooler.output_size, classes)

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> Tensor:
        attention_mask = (~padding_mask).long()  # transformers': 1 = real
        frames = self.encoder(waveforms, attention_mask=attention_mask).last_hidden_state
        base = self.encoder.get_base_model()
        real = base._get_feature_vector_attention_mask(frames.shape[1], attention_mask)
        pooled = self.pooler(self.adapter(frames, real == 0), real == 0)
        return self.linear(pooled)


if __name__ == "__main__":
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    encoder = get_peft_model(tiny_hubert(), lora)  # freezes all but LoRA
    adapter = WAPTransformer(WAPTransformerConfig(32, width=32, heads=2, feedforward=64))
    model = OnLora(encoder, adapter, classes=2)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    (waveforms, padding_mask), labels = pad_waveforms((clips := made_clips(48, 1))[0]), clips[1]
    for _ in range(15):
        loss = nn.functional.cross_entropy(model(waveforms, padding_mask), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    clips, labels = made_clips(40, seed=2)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as out:
        logits = model(*pad_waveforms(clips))
        encoder.save_pretrained(f"{out}/lora")
        adapter.save_pretrained(f"{out}/adapter")
        model.encoder = PeftModel.from_pretrained(tiny_hubert(), f"{out}/lora").eval()
        model.adapter = WAPTransformer.from_pretrained(f"{out}/adapter")
        assert torch.equal(model(*pad_waveforms(clips)), logits)
    print(f"accuracy on new clips: {(logits.argmax(dim=-1) == labels).float().mean():.2f}")
