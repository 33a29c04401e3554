# SPDX-License-Identifier: Apache-2.0
"""Means over a global batch, from sums of processes and passes: losses, and signs of collapse."""

import math

import torch
from accelerate import Accelerator
from torch import Tensor

from voxadapt.adapters import ObjectivesConfig
from voxadapt.adapters.attributes import perplexity
from voxadapt.adapters.monitors import second_moments, spread
from voxadapt.adapters.pretraining import PretrainingSums
from voxadapt.recipes.running.frame_batches import FrameBatch

# What each objective is a mean over.
COUNTED_OVER = {
    "mask_prediction": "hidden",
    "local_attributes": "hidden",
    "reconstruction": "hidden",
    "denoising": "visible",
    "prosody": "visible",
    "hidden_prosody": "hidden",
    "frame_distillation": "real",
    "utterance_distillation": "clips",
}
# With fewer clips in a batch, their number alone can keep the use of utterance prototypes low.
CLIPS_TO_JUDGE = 16


def count_globally(
    parts: list[FrameBatch], span_masks: list[Tensor], accelerator: Accelerator
) -> dict[str, Tensor]:
    """Real, hidden and visible frames, and clips, of the global batch, without fillers.

    Frames are at least 1, to be divided by; clips are 0 where none could be read.
    """
    counts = torch.zeros(3, device=accelerator.device)
    for part, span_mask in zip(parts, span_masks, strict=True):
        real = (~part.padding_mask).sum(dim=1)
        for row, values in enumerate((real, span_mask.sum(dim=1), torch.ones_like(real))):
            counts[row] += (values * part.clip_weights).sum()
    real, hidden, clips = accelerator.reduce(counts).unbind()
    frames = {"real": real, "hidden": hidden, "visible": real - hidden}
    return {name: count.clamp(min=1.0) for name, count in frames.items()} | {"clips": clips}


def weighted_loss(
    sums: dict[str, Tensor], counts: dict[str, Tensor], objectives: ObjectivesConfig
) -> Tensor:
    """This process's part of the loss: sums over global counts, by weight."""
    weights = objectives.weights()
    terms = [weights[name] * value / counts[COUNTED_OVER[name]] for name, value in sums.items()]
    return torch.stack(terms).sum()


def mean_losses(
    all_sums: list[PretrainingSums],
    counts: dict[str, Tensor],
    objectives: ObjectivesConfig,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Each objective over the global batch, unweighted, and the weighted ``loss``."""
    names = sorted(all_sums[0].losses)
    sums = torch.stack(
        [torch.stack([part.losses[name].detach() for part in all_sums]).sum() for name in names]
    )
    values = accelerator.reduce(sums) / torch.stack([counts[COUNTED_OVER[name]] for name in names])
    losses = dict(zip(names, values.tolist(), strict=True))
    weights = objectives.weights()
    return {**losses, "loss": sum(weights[name] * losses[name] for name in names)}


def sum_of(all_sums: list[PretrainingSums], name: str) -> Tensor:
    """One field of the sums, added over a step's passes."""
    return torch.stack([getattr(sums, name) for sums in all_sums]).sum(dim=0)


@torch.no_grad()
def health(
    all_sums: list[PretrainingSums],
    counts: dict[str, Tensor],
    objectives: ObjectivesConfig,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Signs of collapse over the global batch (see ``voxadapt.adapters.monitors``)."""
    found: dict[str, float] = {}
    for name in ("student", "teacher"):
        moments = torch.stack(
            [second_moments(getattr(sums, f"{name}_frames")) for sums in all_sums]
        ).sum(dim=0)
        found[f"{name}_std"], found[f"{name}_effective_rank"] = spread(accelerator.reduce(moments))
    if objectives.frame_distillation:
        targets = accelerator.reduce(sum_of(all_sums, "frame_targets"))
        found["prototype_perplexity"] = perplexity(targets)
        entropy = accelerator.reduce(sum_of(all_sums, "target_entropy"))
        found["target_entropy"] = float(entropy / counts["real"])
        found["target_sharpness"] = 1.0 - found["target_entropy"] / math.log(objectives.prototypes)
    if objectives.utterance_distillation and counts["clips"] >= CLIPS_TO_JUDGE:
        targets = accelerator.reduce(sum_of(all_sums, "utterance_targets"))
        found["utterance_perplexity"] = perplexity(targets)
    if objectives.local_attributes:
        size = objectives.attributes
        used = torch.stack(
            [torch.bincount(sums.attribute_ids, minlength=size) for sums in all_sums]
        )
        found["attribute_perplexity"] = perplexity(accelerator.reduce(used.sum(dim=0)))
    return found
