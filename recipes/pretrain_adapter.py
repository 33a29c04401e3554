# SPDX-License-Identifier: Apache-2.0
"""Pretrain a WAP-Transformer adapter on unlabelled speech.

    accelerate launch recipes/pretrain_adapter.py --data corpus.csv --out runs/pretrain

Without ``--data`` it runs on a small demo corpus that it makes itself.

On GPUs, Accelerate starts a process for each. On a CPU it starts one alone, whatever number it is
given, unless told ``--multi_gpu --num_processes 2``, which needs no GPU; so does ``torchrun
--nproc_per_node 2``.
"""

import dataclasses
import logging
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from voxadapt.adapters import (
    AdapterPretrainer,
    CollapseError,
    WAPTransformer,
    WAPTransformerConfig,
)
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.pretraining.adapter_folder import save_adapter
from voxadapt.recipes.pretraining.codebook_refits import refit_codebook
from voxadapt.recipes.pretraining.corpus_scales import common_scale
from voxadapt.recipes.pretraining.options import OptimizerOptions, PretrainOptions
from voxadapt.recipes.pretraining.report import REPORT_FILE, leave_records, report_illness
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun, Progress
from voxadapt.recipes.pretraining.step import train_step
from voxadapt.recipes.pretraining.step_sums import CLIPS_TO_JUDGE
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command, written_out
from voxadapt.recipes.running.folder_lock import leaving
from voxadapt.recipes.running.frame_batches import read_ahead
from voxadapt.recipes.running.prepare import (
    build_backbone,
    frequency_bands,
    hours,
    read_clips,
)
from voxadapt.recipes.running.prepare_online import prepare_frames
from voxadapt.recipes.running.process_group import (
    finish_log,
    join_processes,
    log_values,
    start_log,
)
from voxadapt.recipes.running.run_folder import check_out, claim_out

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> Path | None:
    """Run the recipe and return the adapter's folder, or None if ``--max-steps`` ended it early."""
    options = parse(PretrainOptions, argv, prog="pretrain_adapter.py", page=__doc__)
    if options.layer == "weighted":
        raise UsageError(
            "--layer weighted: an adapter cannot be pretrained on a sum that is learnt with it: "
            "without labels, the sum would settle on the layers that are easiest to predict. Use "
            "--layer mean, or a number"
        )
    config = dataclasses.asdict(options)
    out = check_out(options.out, "pretrain_adapter", config, resume=options.resume)
    with leaving(out):
        return pretrain(options, config, out)


def pretrain(options: PretrainOptions, config: dict[str, Any], out: Path) -> Path | None:
    """Run the recipe with options that are read and a folder that is checked already.

    Args:
        options: The options.
        config: The same, as they are written down.
        out: The run's folder.

    Returns:
        The adapter's folder; None if ``--max-steps`` ended it early.
    """
    accelerator = join_processes(options.precision)
    clips = read_clips(options, accelerator)
    backbone = build_backbone(options)
    check_objectives(options, frequency_bands(backbone))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        claim_out(out, "pretrain_adapter", config)
    corpus = prepare_frames(clips, backbone, options, accelerator, out)

    torch.manual_seed(stable_seed(options.seed, "initialisation"))
    adapter = WAPTransformer(
        WAPTransformerConfig(
            input_size=backbone.spec.feature_size, **dataclasses.asdict(options.adapter)
        )
    )
    mean, std, scales = common_scale(
        corpus.store, corpus.clips, manifests=max(1, len(options.data)), seed=options.seed
    )
    adapter.standardize.set_statistics(mean, std)
    pretrainer = AdapterPretrainer(adapter, options.objectives, frequency_bands(backbone))
    model, optimizer = accelerator.prepare(
        pretrainer, build_optimizer(pretrainer, options.optimizer)
    )
    run = PretrainingRun(
        options=options,
        out=out,
        accelerator=accelerator,
        backbone=backbone,
        corpus=corpus,
        scales=scales,
        pretrainer=pretrainer,
        model=model,
        optimizer=optimizer,
        progress=Progress(),
    )
    if options.resume and run.restore():
        logger.info("going on from epoch %d, step %d", run.progress.epoch + 1, run.progress.step)
    logger.info(
        "pretraining on %d clips, %.2f h of audio, %s frames of %d features; adapter of %s "
        "parameters; %d process(es) on %s",
        len(corpus.clips),
        hours(corpus.store, backbone.spec.frame_rate),
        f"{corpus.store.lengths.sum():,}",
        backbone.spec.feature_size,
        f"{sum(parameter.numel() for parameter in adapter.parameters()):,}",
        accelerator.num_processes,
        accelerator.device,
    )
    say_what_is_augmented(options, frequency_bands(backbone))
    say_what_is_watched(options, float(corpus.store.lengths.mean()) / backbone.spec.frame_rate)
    start_log(accelerator, out, first_step=run.progress.step)
    try:
        finished = train(run)
    except (CollapseError, NotFiniteError) as error:
        # Without a step there are no curves, and the same command may be given again.
        if accelerator.is_main_process and run.progress.step:
            report_illness(run, str(error))
        raise
    finish_log(accelerator)
    if accelerator.is_main_process:
        leave_records(run, finished=finished)
        logger.info("report in %s", out / REPORT_FILE)
    if not finished:
        logger.info("stopped after %d steps; go on with --resume", run.progress.step)
        return None
    if accelerator.is_main_process:
        logger.info("adapter saved in %s", save_adapter(run))
        logger.info(
            "fine-tune it:  python recipes/finetune.py --pool sap --adapter %s%s "
            "--data LABELLED.csv",
            shlex.quote(str(out)),
            same_frames(options),
        )
    accelerator.wait_for_everyone()
    return out / "adapter"


def check_objectives(options: PretrainOptions, bands: int | None) -> None:
    """Refuse objectives of which these frames can have none.

    Args:
        options: The run's options.
        bands: Frequency bands of the backbone's frames; None where features are none.

    Raises:
        UsageError: Nothing is left to learn.
    """
    try:
        options.objectives.for_bands(bands)
    except ValueError:
        raise UsageError(
            "--objectives: found 0 for all but prosody and hidden_prosody, but features of "
            f"{options.backbone} are no frequency bands, so that there is no prosody to learn; "
            "give another objective a weight"
        ) from None


def say_what_is_augmented(options: PretrainOptions, bands: int | None) -> None:
    """Log which changes to the student's frames these frames cannot have, and what that means.

    Args:
        options: The run's options.
        bands: Frequency bands of the backbone's frames; None where features are none.
    """
    asked = options.frame_augment
    changes = asked.for_bands(bands)
    if changes != asked:
        logger.info(
            "--frame_augment: features of %s are no frequency bands, so the student's frames are "
            "not changed in level, channel and warp%s",
            options.backbone,
            "; they get noise alone" if changes.is_on else "",
        )
    if options.objectives.for_bands(bands) != options.objectives:
        logger.info(
            "--objectives.prosody, hidden_prosody: features of %s are no frequency bands, so they "
            "are left out",
            options.backbone,
        )
    disturbances: list[object] = [changes.is_on, options.masking.feature_masks]
    disturbances += [options.augment.noise_snr_db, options.augment.gain_db]
    if options.objectives.denoising and not any(disturbances):
        logger.warning(
            "--objectives.denoising: nothing disturbs the frames that the student sees, so that "
            "all it learns there is to copy them; give 0, or turn --frame_augment on"
        )


def same_frames(options: PretrainOptions) -> str:
    """The options by which another recipe gets the same frames, with a space before; or nothing."""
    if options.backbone == "fbank":
        return ""
    context = options.whisper_context
    return " " + written_out(
        backbone=options.backbone,
        layer=options.layer,
        revision=options.revision,
        whisper_context=None if context == PretrainOptions.whisper_context else context,
    )


def say_what_is_watched(options: PretrainOptions, clip_seconds: float) -> None:
    """Log that the steps have too few clips to tell the collapse of utterance prototypes by.

    Args:
        options: The run's options.
        clip_seconds: Mean length of a clip.
    """
    clips = options.batch_seconds / clip_seconds
    if options.objectives.utterance_distillation and clips < CLIPS_TO_JUDGE:
        logger.info(
            "the use of utterance prototypes is watched only at steps of %d clips or more, and a "
            "step of %g s has about %.0f here; --batch-seconds %.0f would have them",
            CLIPS_TO_JUDGE,
            options.batch_seconds,
            clips,
            math.ceil(1.2 * CLIPS_TO_JUDGE * clip_seconds),
        )


def build_optimizer(module: torch.nn.Module, options: OptimizerOptions) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, not on biases, norms and embeddings."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # Fused: one pass over the weights instead of ten, on a CPU too.
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98), fused=True)


def train(run: PretrainingRun) -> bool:
    """Train from where the run stands; False if ``--max-steps`` ended it early."""
    options, progress = run.options, run.progress
    run.model.train()
    while progress.epoch < options.epochs:
        batches = run.plan_epoch(progress.epoch)
        with tqdm(
            total=len(batches),
            initial=progress.batch,
            desc=f"epoch {progress.epoch + 1}/{options.epochs}",
            unit="step",
            disable=not run.accelerator.is_main_process,
            file=sys.stderr,
            mininterval=1.0,
        ) as bar:
            while progress.batch < len(batches):
                if options.max_steps is not None and progress.step >= options.max_steps:
                    run.save()
                    return False
                share = (progress.epoch + progress.batch / len(batches)) / options.epochs
                read_ahead(
                    run.corpus.store,
                    batches,
                    progress.batch,
                    rank=run.accelerator.process_index,
                    world=run.accelerator.num_processes,
                    epoch=progress.epoch,
                )
                fitted = refit_codebook(run, share)
                last = (progress.epoch, progress.batch) == (options.epochs - 1, len(batches) - 1)
                loss = train_step(run, batches[progress.batch], share, last=last)
                if fitted:  # not before: a run without a single step leaves no TensorBoard
                    log_values(run.accelerator, fitted, step=progress.step)
                progress.step += 1
                progress.batch += 1
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
                if progress.step % options.checkpoint_steps == 0:
                    run.save()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        run.save()
    return True


if __name__ == "__main__":
    leave(run_command(main))
