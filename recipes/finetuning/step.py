# SPDX-License-Identifier: Apache-2.0
"""One optimiser step of fine-tuning, the same for any number of processes and forward passes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from voxadapt.outputs import ValueOutputs
from voxadapt.recipes.corpora.batching import share_batch
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.finetuning.epoch_choice import FitState
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.loss import LabelLoss, ValueLoss
from voxadapt.recipes.finetuning.mixup import Mixture, mix_batch
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.spec_augment import draw_batch_augment
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.frame_batches import FrameBatch, load_shares, share_by_length


@dataclass
class Pass:
    """What one forward pass of a step gets.

    Attributes:
        batch: The clips and their frames.
        masks: Frames ``[B, T]`` and features ``[B, D]`` that are hidden.
        mixture: What the clips are mixed with; None where they are not.
    """

    batch: FrameBatch
    masks: tuple[Tensor, Tensor]
    mixture: Mixture | None

    def through(self, model: nn.Module) -> Tensor:
        """The model's outputs ``[B, O]``."""
        outputs: Tensor = model(self.batch.frames, self.batch.padding_mask, *self.masks)
        return outputs


def train_step(
    wrapped: nn.Module,
    optimizer: Any,
    rows: list[int],
    data: LabelledFrames,
    options: FinetuneOptions,
    seed: int,
    state: FitState,
    cycle: float,
    accelerator: Accelerator,
) -> float:
    """One optimiser step over a global batch of clips, at a share of the peak learning rates.

    Returns:
        The loss of the batch.

    Raises:
        UsageError: The loss or its gradient is not finite; the weights are as they were.
    """
    settings = options.optimizer
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * group["factor"] * cycle
    dropout_seed = stable_seed(seed, "dropout", state.step, accelerator.process_index)
    # Dropout as a function of the step: a resumed run draws the same numbers.
    torch.manual_seed(dropout_seed)
    feature_size = accelerator.unwrap_model(wrapped).adapter.input_size
    passes = draw_passes(rows, data, options, seed, state, accelerator, feature_size)
    optimizer.zero_grad()
    if isinstance(data.outputs, ValueOutputs):
        loss = backward_values(wrapped, passes, rows, data, options, accelerator, dropout_seed)
    else:
        loss = backward_labels(wrapped, passes, rows, data, options, accelerator)
    check_finite("loss", loss, rows, data, state)
    norm = accelerator.clip_grad_norm_(wrapped.parameters(), settings.clip_norm)
    check_finite("gradient", float(norm), rows, data, state)
    optimizer.step()
    return loss


def check_finite(
    what: str, value: float, rows: list[int], data: LabelledFrames, state: FitState
) -> None:
    """Stop a run whose loss or gradient is not finite, before it touches the weights.

    Raises:
        UsageError: Naming the step and its clips.
    """
    if np.isfinite(value):
        return
    ids = [data.clips[row].id for row in rows]
    raise UsageError(
        f"the {what} is not finite at step {state.step} (epoch {state.epoch + 1}), on clips "
        f"{ids[:8]}{' and more' if len(ids) > 8 else ''}. Check these clips, or lower "
        "--optimizer.learning_rate"
    )


def draw_passes(
    rows: list[int],
    data: LabelledFrames,
    options: FinetuneOptions,
    seed: int,
    state: FitState,
    accelerator: Accelerator,
    feature_size: int,
) -> list[Pass]:
    """Load this process's share of a batch, mix it, and draw what to hide of it."""
    parts = load_shares(
        data.store,
        rows,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        passes=options.passes,
        device=accelerator.device,
    )
    turns = draw_turns(rows, data, options, state, accelerator)
    passes = []
    for part in parts:
        clip_ids = [data.clips[index].id for index in part.indices]
        part_turns = list(islice(turns, len(clip_ids)))
        mixture = None
        if options.mixup > 0:
            mixture = mix_batch(
                part,
                data.store,
                clip_ids,
                data.splits.train,
                alpha=options.mixup,
                seed=seed,
                turns=part_turns,
            )
        masks = draw_batch_augment(
            clip_ids,
            part.padding_mask,
            feature_size,
            options.spec_augment,
            seed,
            part_turns,
            period=data.feature_period,
        )
        passes.append(Pass(part, masks, mixture))
    return passes


def draw_turns(
    rows: list[int],
    data: LabelledFrames,
    options: FinetuneOptions,
    state: FitState,
    accelerator: Accelerator,
) -> Iterator[int]:
    """What tells the draws for each clip of this process's share apart from its other draws.

    That is the epoch; where balanced sampling has a clip several times in one epoch, and in one
    step, it is the step and the number of the copy.
    """
    if options.sampling == "natural":
        return repeat(state.epoch)
    # Counted over the whole batch, so that the number of processes changes no draw.
    by_length, _ = share_by_length(data.store, rows, 0, 1)
    before: Counter[int] = Counter()
    turns = []
    for row in by_length:
        turns.append(stable_seed(state.step, before[row]))
        before[row] += 1
    share, _ = share_batch(turns, accelerator.process_index, accelerator.num_processes)
    return iter(share)


def backward_labels(
    wrapped: nn.Module,
    passes: list[Pass],
    rows: list[int],
    data: LabelledFrames,
    options: FinetuneOptions,
    accelerator: Accelerator,
) -> float:
    """Leave the gradients of the mean loss over a global batch; returns that loss."""
    label_loss = LabelLoss(data, options, rows)
    total = torch.zeros((), device=accelerator.device)
    for number, one in enumerate(passes, start=1):
        # Processes can differ in their number of parts, so they meet once a step.
        with nullcontext() if number == len(passes) else accelerator.no_sync(wrapped):
            losses = label_loss.per_clip(one.through(wrapped), one.batch.indices, one.mixture)
            loss = (losses * one.batch.clip_weights).sum() / len(rows)
            # DistributedDataParallel averages gradients over processes; the sum is wanted.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
    return float(accelerator.reduce(total))


def backward_values(
    wrapped: nn.Module,
    passes: list[Pass],
    rows: list[int],
    data: LabelledFrames,
    options: FinetuneOptions,
    accelerator: Accelerator,
    dropout_seed: int,
) -> float:
    """Leave the gradients of 1 - CCC over a global batch; returns that loss.

    The outputs of all clips are gathered first, since the slope of each depends on all. With
    several forward passes they are computed twice, without and with a graph, and the same dropout
    (as GradCache does for contrastive losses, arXiv 2101.06983); with one, once.
    """
    value_loss = ValueLoss(data, options)
    place = {row: position for position, row in enumerate(rows)}
    places = [[place[index] for index in one.batch.indices] for one in passes]
    with nullcontext() if len(passes) == 1 else torch.no_grad():
        found = [one.through(wrapped).float() for one in passes]
    # Each process fills in its own clips; adding the others' zeros is exact.
    gathered = torch.zeros(len(rows), 2 * data.outputs.size, device=accelerator.device)
    for one, positions, part in zip(passes, places, found, strict=True):
        if one.batch.clip_weights.all():  # and not of a clip that only fills an empty share
            targets = value_loss.targets(one.batch.indices, one.mixture).to(part)
            gathered[positions] = torch.cat([part.detach(), targets], dim=-1)
    outputs, targets = accelerator.reduce(gathered).cpu().double().chunk(2, dim=-1)
    loss, slopes = value_loss.with_slopes(outputs, targets)

    if len(passes) > 1:
        torch.manual_seed(dropout_seed)
    for number, (one, positions) in enumerate(zip(passes, places, strict=True), start=1):
        with nullcontext() if number == len(passes) else accelerator.no_sync(wrapped):
            part = found[0] if len(passes) == 1 else one.through(wrapped).float()
            weights = slopes[positions].to(part) * one.batch.clip_weights.unsqueeze(-1)
            # As above, DistributedDataParallel's average is made a sum.
            accelerator.backward((part * weights).sum() * accelerator.num_processes)
    return loss
