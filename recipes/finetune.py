# SPDX-License-Identifier: Apache-2.0
"""Fine-tune an adapter, a pooler and a linear layer on labelled speech.

    python recipes/finetune.py --pool sap --data corpus.csv --out runs/finetune
    python recipes/finetune.py --data corpus.csv --adapter runs/pretrain --fold all --out runs/folds
    python recipes/finetune.py --data corpus.csv --backbone openai/whisper-small --layer weighted

Without ``--data`` it runs on a small demo corpus that it makes itself.
"""

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from voxadapt.backbones import Backbone
from voxadapt.recipes.finetuning.adapter_choice import choose_adapter
from voxadapt.recipes.finetuning.copied_audio import refuse_copies
from voxadapt.recipes.finetuning.finished_runs import refuse_other_splits
from voxadapt.recipes.finetuning.joined_runs import join_runs
from voxadapt.recipes.finetuning.label_columns import check_label_columns
from voxadapt.recipes.finetuning.model_building import frozen_part, pooler_options
from voxadapt.recipes.finetuning.options import FinetuneOptions, tuning_of
from voxadapt.recipes.finetuning.parallel_runs import check_jobs, run_in_processes
from voxadapt.recipes.finetuning.run_once import SharedParts, run_once
from voxadapt.recipes.finetuning.run_plan import PlannedRun, check_splits, plan_runs
from voxadapt.recipes.finetuning.run_results import (
    Results,
    join_predictions,
    log_result,
    write_records,
)
from voxadapt.recipes.report import write_report
from voxadapt.recipes.running.command_line import leave, parse, run_command
from voxadapt.recipes.running.folder_lock import leaving
from voxadapt.recipes.running.prepare import BAD_AUDIO_FILE, build_backbone, prepare_features
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import check_out, claim_out, read_record, write_json
from voxadapt.recipes.scoring.other_corpora import prepare_others, read_labelled, read_others
from voxadapt.recipes.scoring.target_scores import selection_score

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Run the recipe and return what stands in ``metrics.json``."""
    return run_finetune(parse(FinetuneOptions, argv, prog="finetune.py", page=__doc__))


def run_finetune(options: FinetuneOptions) -> dict[str, Any] | None:
    """Run the recipe with options that are read already.

    Returns:
        What stands in ``metrics.json``; None if ``--max-epochs`` ended it early.
    """
    out = check_out(options.out, "finetune", dataclasses.asdict(options), resume=options.resume)
    with leaving(out):
        return finetune(options, out)


def finetune(options: FinetuneOptions, out: Path) -> dict[str, Any] | None:
    """Run the recipe with a folder that is checked already; returns what `run_finetune` does."""
    accelerator = join_processes(options.precision)
    check_jobs(options, accelerator.num_processes)
    before = read_record(out) if options.resume else None
    shared = prepare_runs(options, accelerator, out, adapter=(before or {}).get("adapter"))
    plan = plan_runs(shared.corpus.clips, options, out)
    if options.resume:
        refuse_other_splits(plan, shared.corpus.clips, options)
    refuse_copies(plan, shared.corpus, options)
    if options.jobs > 1 and len(plan) > 1:
        results = run_in_processes(out, plan, options)
    else:
        results = run_one_by_one(shared, plan)
    if results is None:
        logger.info("stopped; go on with --resume")
        return None
    metrics = results[0][1]
    if len(plan) > 1:
        records = join_predictions(results)
        metrics = join_runs(out, results, records, options)
        if accelerator.is_main_process:
            write_records(out / "predictions.jsonl", records)
            write_json(out / "metrics.json", metrics)
            score = selection_score(metrics)
            best = max(results, key=lambda pair: pair[1]["valid"][score])[0].folder
            shutil.copytree(best / "model", out / "model", dirs_exist_ok=True)
            logger.info("model of the run that did best on validation: %s", out / "model")
            write_report(out)
    log_result(out, metrics)
    return metrics


def prepare_runs(
    options: FinetuneOptions,
    accelerator: Accelerator,
    out: Path,
    *,
    adapter: str | None = None,
    claim: bool = True,
) -> SharedParts:
    """Read and check all that the runs need, and compute or find its frames.

    Args:
        options: The options.
        accelerator: The process group.
        out: The command's folder.
        adapter: What an earlier start settled on; None chooses.
        claim: Whether the folder is claimed, after all that can be wrong with the options.
    """
    clips, left_out_labels = read_labelled(options, accelerator)
    clips = check_label_columns(clips, options)
    # Splits are drawn once before anything is computed: whatever is wrong with them is said now.
    check_splits(clips, options, plan_runs(clips, options, out))
    others = read_others(options, clips, accelerator)
    pooler_options(options)
    backbone = load_whole(options)
    frozen = frozen_part(backbone, options)
    choice = adapter or choose_adapter(options, backbone)
    accelerator.wait_for_everyone()
    if claim and accelerator.is_main_process:
        claim_out(out, "finetune", dataclasses.asdict(options), adapter=choice)
    listing = out / BAD_AUDIO_FILE if claim else None
    corpus = prepare_features(clips, frozen, options, accelerator, listing)
    return SharedParts(
        options=options,
        accelerator=accelerator,
        corpus=corpus,
        backbone=backbone,
        frozen=frozen,
        adapter=choice,
        others=prepare_others(others, frozen, options, accelerator, out if claim else None),
        left_out_labels=left_out_labels,
    )


def load_whole(options: FinetuneOptions) -> Backbone:
    """The backbone that the options name; in float32 where layers of it train.

    Raises:
        BackboneError: It cannot be had, or has no such layer.
    """
    if tuning_of(options) is None:
        return build_backbone(options)
    return build_backbone(dataclasses.replace(options, precision="fp32"))


def run_one_by_one(shared: SharedParts, plan: list[PlannedRun]) -> Results | None:
    """All runs in this process, or processes; None if ``--max-epochs`` ended them early."""
    results: Results = []
    for run in plan:
        if len(plan) > 1:
            logger.info("run %d of %d: %s", len(results) + 1, len(plan), run.title)
        metrics = run_once(shared, run)
        if metrics is None:
            return None
        results.append((run, metrics))
    return results


if __name__ == "__main__":
    leave(run_command(main))
