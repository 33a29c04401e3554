# SPDX-License-Identifier: Apache-2.0
"""One optimiser step of pretraining over a global batch, whatever the number of processes."""

import math
from contextlib import nullcontext
from itertools import islice

import torch

from voxadapt.adapters import ObjectivesConfig
from voxadapt.adapters.monitors import CollapseError, check_collapse
from voxadapt.adapters.pretraining import PretrainingSums
from voxadapt.adapters.schedules import cosine, linear, one_cycle
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun
from voxadapt.recipes.pretraining.step_sums import (
    count_globally,
    health,
    mean_losses,
    sum_of,
    weighted_loss,
)
from voxadapt.recipes.pretraining.student_view import (
    augment_student,
    draw_feature_masks,
    draw_masks,
)
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.frame_batches import load_shares
from voxadapt.recipes.running.process_group import log_values

# Collapse is looked for after this share of the run and after so many steps at the latest: before,
# the teacher is still the random start.
COLLAPSE_AFTER = 0.02
COLLAPSE_AFTER_STEPS = 100
# Two seconds: with fewer frames, as the last batch of an epoch can have, their number alone can
# keep every sign low.
FRAMES_TO_JUDGE = 100
# A healthy run has steps of few clips that are all alike: one long recording, mostly silent. Such a
# step is judged by the healthiest values of the last logged steps.
CLIPS_TO_JUDGE_ALONE = 4
STEPS_TO_JUDGE_TOGETHER = 10


def train_step(run: PretrainingRun, batch: list[int], share: float, *, last: bool = False) -> float:
    """Train on one global batch.

    Args:
        run: The run.
        batch: The clips of the batch.
        share: Share of the run that is done, 0 to 1.
        last: Whether it is the run's last step, which is logged whatever its number.

    Returns:
        The weighted loss over the global batch.

    Raises:
        NotFiniteError: The loss or its gradient is not finite; the weights are as they were.
        CollapseError: The representation has collapsed.
        UsageError: No clip of the batch could be read; the weights are as they were.
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
    if not counts["clips"]:
        ids = [run.corpus.clips[index].id for index in batch]
        raise UsageError(
            f"none of the clips of step {progress.step}, epoch {progress.epoch + 1}, can be read "
            f"any more ({ids}). {run.way_back()}; bring them back and go on with --resume"
        )

    temperature = teacher_temperature(options.objectives, share)
    run.optimizer.zero_grad()
    all_sums: list[PretrainingSums] = []
    for part, span_mask in zip(parts, span_masks, strict=True):
        last_pass = len(all_sums) == len(parts) - 1
        with nullcontext() if last_pass else accelerator.no_sync(run.model):
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
    if last or progress.step % options.log_steps == 0:
        entry = {
            **losses,
            **health(all_sums, counts, options.objectives, accelerator),
            "hidden_share": float(counts["hidden"] / counts["real"]),
            "clips": float(counts["clips"]),
            "frames": float(counts["real"]),
            "gradient_norm": gradient_norm,
            "learning_rate": learning_rate,
            "teacher_decay": decay,
            "teacher_temperature": temperature,
        }
        progress.log.append({"step": float(progress.step), **entry})
        log_values(accelerator, entry, step=progress.step)
        if is_under_way(progress.step, share) and is_enough(entry):
            try:
                check_collapse(healthiest_lately(progress.log), options.collapse)
            except CollapseError as error:
                raise CollapseError(f"at step {progress.step}, {error}") from None
    return losses["loss"]


def is_under_way(step: float, share: float) -> bool:
    """Whether a run has come so far that it is judged.

    Args:
        step: The step, from 0.
        share: Share of the whole run, as it is planned, that was done before the step; 0 to 1.
    """
    return share > COLLAPSE_AFTER or step >= COLLAPSE_AFTER_STEPS


def is_enough(entry: dict[str, float]) -> bool:
    """Whether a logged step has frames enough to judge the run by."""
    return entry["frames"] >= FRAMES_TO_JUDGE


def healthiest_lately(log: list[dict[str, float]]) -> dict[str, float]:
    """The values to judge the last logged step by.

    Args:
        log: The run's log; its last entry is of a step that `is_enough`.

    Returns:
        Those of the step; where it has few clips, the highest of each of the last
        `STEPS_TO_JUDGE_TOGETHER` such steps, or nothing as long as there are fewer.
    """
    if log[-1]["clips"] >= CLIPS_TO_JUDGE_ALONE:
        return log[-1]
    judged = (entry for entry in reversed(log) if "frames" in entry and is_enough(entry))
    lately = list(islice(judged, STEPS_TO_JUDGE_TOGETHER))
    if len(lately) < STEPS_TO_JUDGE_TOGETHER:
        return {}
    return {name: max(entry[name] for entry in lately if name in entry) for name in log[-1]}


def teacher_temperature(objectives: ObjectivesConfig, share: float) -> float:
    """The teacher's temperature at a share of the run, 0 to 1."""
    start, end = objectives.teacher_temperature_start, objectives.teacher_temperature
    if start is None or share >= objectives.temperature_warmup:
        return end
    return linear(share / objectives.temperature_warmup, start, end)


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
