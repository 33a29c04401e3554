# SPDX-License-Identifier: Apache-2.0
"""Train a frame classifier and choose its epoch on the validation part."""

import logging
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from voxadapt.adapters.schedules import one_cycle
from voxadapt.backbones import Lora
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.recipes.checkpoints import load_checkpoint, save_checkpoint
from voxadapt.recipes.command_line import UsageError
from voxadapt.recipes.corpora.batching import plan_batches
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.splits import Splits
from voxadapt.recipes.evaluation import classify_clips
from voxadapt.recipes.finetune_options import FinetuneOptions, tuning_of
from voxadapt.recipes.frame_batches import load_shares
from voxadapt.recipes.metrics import classification_metrics
from voxadapt.recipes.spec_augment import draw_batch_augment
from voxadapt.recipes.weight_average import average_decay, make_average, update_average

logger = logging.getLogger(__name__)

# Of the learning rate, where the options leave it open: LoRA's matrices are new, and opened layers
# forget what they were pretrained for at a rate that suits new ones.
LORA_FACTOR = 0.5
OPEN_LAYERS_FACTOR = 0.02


@dataclass
class LabelledFrames:
    """What a run learns from.

    Attributes:
        clips: All clips.
        store: Their frames, in the same order.
        labels: Names of the classes, sorted; they number the classes.
        targets: ``[clips]`` int64 class of each clip.
        splits: Which clips train, choose and test.
        frame_rate: Frames a second.
        feature_period: Features of the adapter's input after which frequency bands repeat (see
            `draw_spec_augment`).
    """

    clips: list[Clip]
    store: FeatureStore
    labels: list[str]
    targets: np.ndarray
    splits: Splits
    frame_rate: float
    feature_period: int


@dataclass
class FitState:
    """Where training stands; all of it is in the checkpoint.

    Attributes:
        epoch: Epochs finished.
        step: Optimiser steps done.
        best_epoch: The epoch chosen so far.
        best_score: The best validation UA so far, and its standard error.
        best_weights: The weights of ``best_epoch``, without those that do not train.
        history: Losses and metrics, an entry for each epoch.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_score: list[float] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    model: FrameClassifier,
    data: LabelledFrames,
    options: FinetuneOptions,
    seed: int,
    accelerator: Accelerator,
    out: Path,
) -> FitState | None:
    """Train, choose an epoch on the validation part, and leave its weights in place.

    What is validated and kept is a running average of the weights, which varies far less from epoch
    to epoch than the weights themselves: a validation part of a few dozen clips could not tell one
    epoch from another otherwise.

    Args:
        model: The classifier, freshly made from the seed.
        data: Clips, frames and splits.
        options: The run's options.
        seed: The run's seed.
        accelerator: The process group.
        out: The run's folder, for the checkpoint.

    Returns:
        What happened, or None if ``--max-epochs`` ended it early.

    Raises:
        UsageError: The loss is not finite.
    """
    optimizer: Any = build_optimizer(model, options)
    averaged = make_average(model)
    state = FitState()
    saved = load_checkpoint(out) if options.resume else None
    if saved is not None:
        model.load_trained_state(saved["model"])
        averaged.load_trained_state(saved["averaged"])
        state = FitState(**saved["state"])
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
        logger.info("going on from epoch %d", state.epoch)

    budget = max(1, round(options.batch_seconds * data.frame_rate))
    train, valid = np.array(data.splits.train), data.splits.valid
    bar = tqdm(
        total=options.epochs,
        initial=state.epoch,
        desc="fine-tuning",
        unit="epoch",
        disable=not accelerator.is_main_process,
        file=sys.stderr,
    )
    while state.epoch < options.epochs:
        if options.max_epochs is not None and state.epoch >= options.max_epochs:
            bar.close()
            return None
        batches = plan_batches(
            data.store.lengths[train],
            budget,
            seed=stable_seed(seed, "batches"),
            epoch=state.epoch,
        )
        wrapped.train()
        losses = []
        for number, batch in enumerate(batches):
            share = (state.epoch + number / len(batches)) / options.epochs
            cycle = one_cycle(share, warmup=options.optimizer.warmup)
            rows = [int(train[row]) for row in batch]
            losses.append(
                train_step(wrapped, optimizer, rows, data, options, seed, state, cycle, accelerator)
            )
            state.step += 1
            update_average(averaged, model, average_decay(state.step, options.optimizer.averaging))
        entry = {
            "train_loss": float(np.average(losses, weights=[len(batch) for batch in batches])),
            **validate(averaged, data, valid, accelerator, budget),
            "learning_rate": options.optimizer.learning_rate * cycle,
            **layer_weights(averaged),
        }
        accelerator.log(entry, step=state.epoch)
        state.history.append({"epoch": float(state.epoch), **entry})
        keep_best(state, entry, averaged.trained_state())
        state.epoch += 1
        bar.set_postfix(valid_ua=f"{entry['valid_ua']:.3f}", loss=f"{entry['train_loss']:.3f}")
        bar.update()
        if accelerator.is_main_process:
            checkpoint = {
                "model": model.trained_state(),
                "averaged": averaged.trained_state(),
                "optimizer": optimizer.state_dict(),
                "state": vars(state),
            }
            save_checkpoint(out, checkpoint)
        accelerator.wait_for_everyone()
    bar.close()
    model.load_trained_state(state.best_weights)
    return state


def build_optimizer(model: FrameClassifier, options: FinetuneOptions) -> torch.optim.AdamW:
    """AdamW with learning rates of their own for the parts, and weight decay on matrices only."""
    settings = options.optimizer
    groups = []
    factors: list[tuple[float, list[nn.Module | None]]] = [
        (settings.adapter_factor, [model.adapter]),
        (encoder_factor(options), [model.tuned_layers]),
        (settings.layer_factor, [model.layer_mix]),
        (1.0, [model.pooler]),
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
        The mean loss over the batch.
    """
    settings = options.optimizer
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * group["factor"] * cycle
    # Dropout as a function of the step: a resumed run draws the same numbers.
    torch.manual_seed(stable_seed(seed, "dropout", state.step, accelerator.process_index))
    parts = load_shares(
        data.store,
        rows,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        passes=options.passes,
        device=accelerator.device,
    )
    feature_size = accelerator.unwrap_model(wrapped).adapter.input_size
    optimizer.zero_grad()
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts, start=1):
        masks = draw_batch_augment(
            [data.clips[index].id for index in part.indices],
            part.padding_mask,
            feature_size,
            options.spec_augment,
            seed,
            state.epoch,
            period=data.feature_period,
        )
        targets = torch.from_numpy(data.targets[part.indices]).to(accelerator.device)
        # Processes can differ in their number of parts, so they meet once a step.
        with nullcontext() if number == len(parts) else accelerator.no_sync(wrapped):
            logits = wrapped(part.frames, part.padding_mask, *masks)
            losses = F.cross_entropy(
                logits.float(), targets, reduction="none", label_smoothing=settings.label_smoothing
            )
            loss = (losses * part.clip_weights).sum() / len(rows)
            # DistributedDataParallel averages gradients over processes; the sum is wanted.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
    loss_value = float(accelerator.reduce(total))
    if not np.isfinite(loss_value):
        ids = [data.clips[row].id for row in rows]
        raise UsageError(
            f"the loss is not finite at step {state.step} (epoch {state.epoch + 1}), on clips "
            f"{ids[:8]}{' and more' if len(ids) > 8 else ''}. Check these clips, or lower "
            "--optimizer.learning_rate"
        )
    accelerator.clip_grad_norm_(wrapped.parameters(), settings.clip_norm)
    optimizer.step()
    return loss_value


def validate(
    model: nn.Module,
    data: LabelledFrames,
    indices: list[int],
    accelerator: Accelerator,
    budget: int,
) -> dict[str, float]:
    """Loss and metrics on the validation part."""
    probabilities = classify_clips(model, data.store, indices, accelerator, budget=budget)
    true = data.targets[indices]
    metrics = classification_metrics(data.labels, true, probabilities.argmax(axis=1))
    picked = probabilities[np.arange(len(true)), true]
    return {
        "valid_loss": float(-np.log(np.maximum(picked, 1e-12)).mean()),
        **{f"valid_{name}": metrics[name] for name in ("ua", "wa", "macro_f1")},
        "valid_ua_error": standard_error(np.array(metrics["confusion"])),
    }


def layer_weights(model: FrameClassifier) -> dict[str, float]:
    """The weights of a learnt sum over the encoder's layers, one by one; nothing without one."""
    if model.layer_mix is None:
        return {}
    weights = model.layer_mix.weights.tolist()
    return {f"layer_weight_{layer}": weight for layer, weight in enumerate(weights)}


def keep_best(state: FitState, entry: dict[str, float], weights: dict[str, Tensor]) -> None:
    """Keep these weights unless the validation part says that an earlier epoch was better.

    The epoch kept is the latest whose validation UA is within one standard error of the best: with
    a few dozen clips, a higher score at a high learning rate is mostly luck (the one-standard-error
    rule of Breiman et al., 1984, applied to epochs).
    """
    if not state.best_score or entry["valid_ua"] >= state.best_score[0]:
        state.best_score = [entry["valid_ua"], entry["valid_ua_error"]]
    elif entry["valid_ua"] < state.best_score[0] - state.best_score[1]:
        return
    state.best_epoch = state.epoch
    state.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}


def standard_error(confusion: np.ndarray) -> float:
    """Standard error of UA, the mean over classes of binomial recalls.

    Args:
        confusion: ``[C, C]`` counts, rows = true; classes without clips are left out.
    """
    clips = confusion.sum(axis=1)
    recalls = np.diag(confusion)[clips > 0] / clips[clips > 0]
    variances = recalls * (1.0 - recalls) / clips[clips > 0]
    return float(np.sqrt(variances.sum()) / len(recalls))
