# SPDX-License-Identifier: Apache-2.0
"""One optimiser step of pretraining over a global batch, whatever the number of processes."""

import math
from contextlib import nullcontext
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor

from voxadapt.adapters import (
    ObjectivesConfig,
    augment_frames,
    draw_feature_mask,
    draw_span_mask,
)
from voxadapt.adapters.attributes import perplexity
from voxadapt.adapters.monitors import CollapseError, check_collapse, second_moments, spread
from voxadapt.adapters.pretraining import PretrainingSums
from voxadapt.adapters.schedules import cosine, linear, one_cycle
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun
from voxadapt.recipes.running.frame_batches import FrameBatch, load_shares
from voxadapt.recipes.running.prepare import feature_period, frequency_bands
from voxadapt.recipes.running.process_group import log_values

# What each objective is a mean over.
COUNTED_OVER = {
    "mask_prediction": "hidden",
    "local_attributes": "hidden",
    "reconstruction": "hidden",
    "denoising": "visible",
    "frame_distillation": "real",
    "utterance_distillation": "clips",
}
# Collapse is looked for after this share of the run and after so many steps at the latest: before,
# the teacher is still the random start.
COLLAPSE_AFTER = 0.02
COLLAPSE_AFTER_STEPS = 100
# With fewer clips in a batch, their number alone can keep the use of utterance prototypes low.
CLIPS_TO_JUDGE = 16


def train_step(run: PretrainingRun, batch: list[int], share: float) -> float:
    """Train on one global batch.

    Args:
        run: The run.
        batch: The clips of the batch.
        share: Share of the run that is done, 0 to 1.

    Returns:
        The weighted loss over the global batch.

    Raises:
        NotFiniteError: The loss or its gradient is not finite; the weights are as they were.
        CollapseError: The representation has collapsed.
    """
    options, accelerator, progress = run.options, run.accelerator, run.progress
    rank, world = accelerator.process_index, accelerator.num_processes
    settings = options.optimizer
    learning_rate = settings.learning_rate * one_cycle(share, warmup=settings.warmup)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate
    # Dropout as a function of the step: a resumed run draws the same numbers.
    torch.manual_seed(stable_seed(options.seed, "dropout", progress.step, rank))
    parts = load_shares(
        run.corpus.store,
        batch,
        rank=rank,
        world=world,
        passes=options.passes,
        device=accelerator.device,
        epoch=progress.epoch,
    )
    parts = [augment_student(run, run.on_common_scale(part)) for part in parts]
    span_masks = [draw_masks(run, part) for part in parts]
    counts = count_globally(parts, span_masks, accelerator)

    temperature = teacher_temperature(options.objectives, share)
    run.optimizer.zero_grad()
    all_sums: list[PretrainingSums] = []
    for part, span_mask in zip(parts, span_masks, strict=True):
        last = len(all_sums) == len(parts) - 1
        with nullcontext() if last else accelerator.no_sync(run.model):
            sums = run.model(
                part.frames,
                part.padding_mask,
                span_mask,
                part.clip_weights,
                draw_feature_masks(run, part),
                part.student_frames,
                temperature,
            )
            loss = weighted_loss(sums.losses, counts, options.objectives)
            # DistributedDataParallel averages gradients over processes; the sum is wanted.
            accelerator.backward(loss * world)
        all_sums.append(sums)
    losses = mean_losses(all_sums, counts, options.objectives, accelerator)
    check_finite(run, "loss", losses, batch)
    gradient_norm = float(accelerator.clip_grad_norm_(run.model.parameters(), settings.clip_norm))
    check_finite(run, "gradient", {"gradient_norm": gradient_norm}, batch)
    run.optimizer.step()

    decay = cosine(share, settings.ema_start, settings.ema_end)
    run.pretrainer.update_teacher(decay)
    run.pretrainer.update_centers(
        accelerator.reduce(sum_of(all_sums, "frame_logits")) / counts["real"],
        accelerator.reduce(sum_of(all_sums, "utterance_logits")) / counts["clips"],
    )
    if progress.step % options.log_steps == 0:
        entry = {
            **losses,
            **health(all_sums, counts, options.objectives, accelerator),
            "hidden_share": float(counts["hidden"] / counts["real"]),
            "gradient_norm": gradient_norm,
            "learning_rate": learning_rate,
            "teacher_decay": decay,
            "teacher_temperature": temperature,
        }
        progress.log.append({"step": float(progress.step), **entry})
        log_values(accelerator, entry, step=progress.step)
        if share > COLLAPSE_AFTER or progress.step >= COLLAPSE_AFTER_STEPS:
            try:
                check_collapse(entry, options.collapse)
            except CollapseError as error:
                raise CollapseError(f"at step {progress.step}, {error}") from None
    return losses["loss"]


def teacher_temperature(objectives: ObjectivesConfig, share: float) -> float:
    """The teacher's temperature at a share of the run, 0 to 1."""
    start, end = objectives.teacher_temperature_start, objectives.teacher_temperature
    if start is None or share >= objectives.temperature_warmup:
        return end
    return linear(share / objectives.temperature_warmup, start, end)


def augment_student(run: PretrainingRun, batch: FrameBatch) -> FrameBatch:
    """Change what the student sees, drawn for each clip from (seed, epoch, clip id)."""
    options = run.options
    bands = frequency_bands(run.backbone)
    settings = options.frame_augment.for_bands(bands)
    if not settings.is_on:
        return batch
    standardize = run.pretrainer.student.adapter.standardize
    clean = batch.frames if batch.student_frames is None else batch.student_frames
    standardized = standardize(clean, batch.padding_mask)
    changed = torch.zeros_like(standardized)
    lengths = (~batch.padding_mask).sum(dim=1).tolist()
    for row, (index, length) in enumerate(zip(batch.indices, lengths, strict=True)):
        clip_id = run.corpus.clips[index].id
        seed = stable_seed(options.seed, "frames", run.progress.epoch, clip_id)
        changed[row, :length] = augment_frames(
            standardized[row, :length],
            settings,
            generator=torch.Generator().manual_seed(seed),
            bands=bands,
        )
    changed = torch.addcmul(standardize.mean, changed, standardize.std)
    return replace(batch, student_frames=changed.masked_fill(batch.padding_mask.unsqueeze(-1), 0.0))


def draw_masks(run: PretrainingRun, batch: FrameBatch) -> Tensor:
    """Hidden frames ``[B, T]`` of a batch, drawn for each clip from (seed, epoch, clip id)."""
    options = run.options
    masks = torch.zeros(batch.padding_mask.shape, dtype=torch.bool)
    lengths = (~batch.padding_mask).sum(dim=1).tolist()
    for row, (index, length) in enumerate(zip(batch.indices, lengths, strict=True)):
        clip = run.corpus.clips[index]
        seed = stable_seed(options.seed, "mask", run.progress.epoch, clip.id)
        masks[row, :length] = draw_span_mask(
            length,
            ratio=options.masking.ratio,
            span_length=options.masking.span_length,
            generator=torch.Generator().manual_seed(seed),
        )
    return masks.to(batch.padding_mask.device)


def draw_feature_masks(run: PretrainingRun, batch: FrameBatch) -> Tensor | None:
    """Hidden features ``[B, D]`` of a batch, drawn for each clip from (seed, epoch, clip id)."""
    options = run.options
    if not options.masking.feature_masks:
        return None
    masks = []
    for index in batch.indices:
        clip = run.corpus.clips[index]
        seed = stable_seed(options.seed, "features", run.progress.epoch, clip.id)
        masks.append(
            draw_feature_mask(
                batch.frames.shape[-1],
                masks=options.masking.feature_masks,
                share=options.masking.feature_share,
                generator=torch.Generator().manual_seed(seed),
                period=feature_period(run.backbone),
            )
        )
    return torch.stack(masks).to(batch.frames.device)


def count_globally(
    parts: list[FrameBatch], span_masks: list[Tensor], accelerator: Accelerator
) -> dict[str, Tensor]:
    """Real, hidden and visible frames, and clips, of the global batch, without fillers.

    Each is at least 1, to be divided by.
    """
    counts = torch.zeros(3, device=accelerator.device)
    for part, span_mask in zip(parts, span_masks, strict=True):
        real = (~part.padding_mask).sum(dim=1)
        for row, values in enumerate((real, span_mask.sum(dim=1), torch.ones_like(real))):
            counts[row] += (values * part.clip_weights).sum()
    real, hidden, clips = accelerator.reduce(counts).unbind()
    found = {"real": real, "hidden": hidden, "visible": real - hidden, "clips": clips}
    return {name: count.clamp(min=1.0) for name, count in found.items()}


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


def check_finite(
    run: PretrainingRun, what: str, values: dict[str, float], batch: list[int]
) -> None:
    """Stop a run whose loss or gradient is not finite, before it touches the weights.

    Args:
        run: The run.
        what: What the values are of, for the message.
        values: Values over the global batch, by name.
        batch: The clips of the global batch.

    Raises:
        NotFiniteError: Naming step, values and clips: those at fault where it is their frames.
    """
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if not wrong:
        return
    raise NotFiniteError(
        f"the {what} is not finite ({', '.join(wrong)}) at step {run.progress.step}, epoch "
        f"{run.progress.epoch + 1}, on {run.name_clips(batch)}. {run.way_back()}; where the clips "
        "are good, start again with a lower --optimizer.learning_rate"
    )


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
