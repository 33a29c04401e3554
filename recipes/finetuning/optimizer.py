# SPDX-License-Identifier: Apache-2.0
"""The optimiser of fine-tuning, with a learning rate of its own for each part of the model."""

import torch
from torch import nn

from voxadapt.backbones import Lora
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.recipes.finetuning.options import FinetuneOptions, tuning_of

# Of the learning rate, where the options leave it open: LoRA's matrices are new, and opened layers
# forget what they were pretrained for at a rate that suits new ones.
LORA_FACTOR = 0.5
OPEN_LAYERS_FACTOR = 0.02


def build_optimizer(model: FrameClassifier, options: FinetuneOptions) -> torch.optim.AdamW:
    """AdamW with learning rates of their own for the parts, and weight decay on matrices only."""
    settings = options.optimizer
    groups = []
    factors: list[tuple[float, list[nn.Module | None]]] = [
        (settings.adapter_factor, [model.adapter]),
        (encoder_factor(options), [model.tuned_layers]),
        (settings.layer_factor, [model.layer_mix]),
        (settings.pooler_factor, [model.pooler]),
        (settings.linear_factor, [model.linear]),
    ]
    for factor, parts in factors:
        modules = [part for part in parts if part is not None]
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        for decay, chosen in (
            (settings.weight_decay, [p for p in parameters if p.dim() > 1]),
            (0.0, [p for p in parameters if p.dim() <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "factor": factor})
    # Fused: one pass over the weights instead of ten, on a CPU too.
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def encoder_factor(options: FinetuneOptions) -> float:
    """Learning rate of the encoder's layers that train, as a share of the peak."""
    if options.optimizer.encoder_factor is not None:
        return options.optimizer.encoder_factor
    return LORA_FACTOR if isinstance(tuning_of(options), Lora) else OPEN_LAYERS_FACTOR
