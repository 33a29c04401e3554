# SPDX-License-Identifier: Apache-2.0
"""Train a frame classifier and choose its epoch on the validation part."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from voxadapt.adapters.schedules import one_cycle
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.recipes.corpora.batching import padded_budget, plan_batches
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.finetuning.epoch_choice import (
    FitState,
    keep_best,
    keep_epoch,
    out_of_patience,
)
from voxadapt.recipes.finetuning.epoch_rows import draw_balanced
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.optimizer import build_optimizer
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.step import train_step
from voxadapt.recipes.finetuning.weight_average import average_decay, make_average, update_average
from voxadapt.recipes.running.checkpoints import load_checkpoint, save_checkpoint
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.process_group import log_values
from voxadapt.recipes.scoring.evaluation import classify_clips
from voxadapt.recipes.scoring.target_scores import selection_name, validation_scores

logger = logging.getLogger(__name__)

__all__ = ["FitState", "LabelledFrames", "fit", "layer_weights", "validate"]


def fit(
    model: FrameClassifier,
    data: LabelledFrames,
    options: FinetuneOptions,
    seed: int,
    accelerator: Accelerator,
    out: Path,
    *,
    epochs: int | None = None,
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
        epochs: Stop after this many without a look at a validation part, and keep the weights of
            the last; the learning rate goes the way it goes in a run of ``--epochs``.

    Returns:
        What happened, or None if ``--max-epochs`` ended it early.

    Raises:
        UsageError: The loss, its gradient or a weight is not finite; the disk refuses; or the
            checkpoint to go on from is of a run on other clips.
    """
    optimizer: Any = build_optimizer(model, options)
    averaged = make_average(model)
    state = FitState()
    saved = load_checkpoint(out) if options.resume else None
    fingerprint = data.fingerprint()
    if saved is not None:
        if saved.get("data", fingerprint) != fingerprint:  # older ones have none
            raise UsageError(
                f"{out}: --resume found a run on other training or validation clips, labels or "
                "parts: the manifest has changed since. Put it back as it was, or give another "
                "--out"
            )
        model.load_trained_state(saved["model"])
        averaged.load_trained_state(saved["averaged"])
        state = FitState(**saved["state"])
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
        logger.info("going on from epoch %d", state.epoch)

    budget = padded_budget(options.batch_seconds, data.frame_rate)
    valid, score = data.splits.valid, selection_name(data.outputs)
    last = epochs or options.epochs
    with tqdm(
        total=last,
        initial=state.epoch,
        desc="once more on all" if epochs else "fine-tuning",
        unit="epoch",
        disable=not accelerator.is_main_process,
        file=sys.stderr,
    ) as bar:
        while state.epoch < last and (
            epochs or not out_of_patience(state.history, options.patience, score)
        ):
            if options.max_epochs is not None and state.epoch >= options.max_epochs:
                return None
            batches = plan_epoch(data, options, seed, state.epoch, budget)
            wrapped.train()
            losses = []
            for number, rows in enumerate(batches):
                share = (state.epoch + number / len(batches)) / options.epochs
                cycle = one_cycle(share, warmup=options.optimizer.warmup)
                losses.append(
                    train_step(
                        wrapped, optimizer, rows, data, options, seed, state, cycle, accelerator
                    )
                )
                state.step += 1
                update_average(
                    averaged, model, average_decay(state.step, options.optimizer.averaging)
                )
            check_weights(averaged, state, out)
            entry = {
                "train_loss": float(np.average(losses, weights=[len(rows) for rows in batches])),
                **({} if epochs else validate(averaged, data, valid, accelerator, budget)),
                "learning_rate": options.optimizer.learning_rate * cycle,
                **layer_weights(averaged),
            }
            log_values(accelerator, entry, step=state.epoch)
            state.history.append({"epoch": float(state.epoch), **entry})
            if epochs:
                keep_epoch(state, averaged.trained_state())
            else:
                keep_best(state, entry, averaged.trained_state(), score)
            state.epoch += 1
            shown = {f"valid_{score}": entry.get(f"valid_{score}"), "loss": entry["train_loss"]}
            bar.set_postfix(
                {name: f"{value:.3f}" for name, value in shown.items() if value is not None}
            )
            bar.update()
            if accelerator.is_main_process:
                checkpoint = {
                    "model": model.trained_state(),
                    "averaged": averaged.trained_state(),
                    "optimizer": optimizer.state_dict(),
                    "state": vars(state),
                    "data": fingerprint,
                }
                save_checkpoint(out, checkpoint)
            accelerator.wait_for_everyone()
    if state.epoch < last:
        logger.info(
            "no better score on the validation part for %d epochs: stopped after epoch %d",
            options.patience,
            state.epoch,
        )
    model.load_trained_state(state.best_weights)
    model.fold_standardizer()
    return state


def check_weights(averaged: FrameClassifier, state: FitState, out: Path) -> None:
    """Stop a run whose weights are not finite, before an epoch is chosen or saved.

    Args:
        averaged: The running average: what is not finite in the model is not finite in it.
        state: Where training stands.
        out: The run's folder.

    Raises:
        UsageError: Naming a weight, and the way back.
    """
    for name, tensor in averaged.trained_state().items():
        if not bool(torch.isfinite(tensor).all()):
            back = (
                f"The checkpoint in {out}, of epoch {state.epoch}, is good"
                if state.epoch
                else "No checkpoint has been written yet"
            )
            raise UsageError(
                f"in epoch {state.epoch + 1}, {name} is not finite any more, and was not saved. "
                f"{back}; start again with a lower --optimizer.learning_rate"
            )


def plan_epoch(
    data: LabelledFrames, options: FinetuneOptions, seed: int, epoch: int, budget: int
) -> list[list[int]]:
    """The batches of clips that an epoch trains on, each what one optimiser step sees.

    Args:
        data: Clips, frames and splits.
        options: The run's options.
        seed: The run's seed.
        epoch: The epoch.
        budget: Padded frames of a batch.
    """
    train = np.array(data.splits.train)
    if options.sampling == "balanced":
        train = train[draw_balanced(data.targets[train, 0], seed, epoch)]
    batches = plan_batches(
        data.store.lengths[train], budget, seed=stable_seed(seed, "batches"), epoch=epoch
    )
    return [[int(train[row]) for row in batch] for batch in batches]


def validate(
    model: nn.Module,
    data: LabelledFrames,
    indices: list[int],
    accelerator: Accelerator,
    budget: int,
) -> dict[str, float]:
    """Loss and scores on the validation part, as `validation_scores` names them."""
    activated = classify_clips(
        model,
        data.store,
        indices,
        accelerator,
        budget=budget,
        activation=data.outputs.activate,
    )
    return validation_scores(data.outputs, data.targets[indices], activated)


def layer_weights(model: FrameClassifier) -> dict[str, float]:
    """The weights of a learnt sum over the encoder's layers, one by one; nothing without one."""
    if model.layer_mix is None:
        return {}
    weights = model.layer_mix.weights.tolist()
    return {f"layer_weight_{layer}": weight for layer, weight in enumerate(weights)}
