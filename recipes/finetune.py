# SPDX-License-Identifier: Apache-2.0
"""Fine-tune an adapter, a pooler and a linear layer on labelled speech.

    python recipes/finetune.py --pool sap --data corpus.csv --out runs/finetune

Without ``--data`` it runs on a small demo corpus that it makes itself.
"""

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from voxadapt.backbones import Backbone
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.adapter_choice import choose_adapter
from voxadapt.recipes.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.splits import Splits, make_splits
from voxadapt.recipes.evaluation import classify_clips, write_predictions
from voxadapt.recipes.finetune_options import FinetuneOptions, tuning_of
from voxadapt.recipes.fit_classifier import FitState, LabelledFrames, fit
from voxadapt.recipes.metrics import score_probabilities
from voxadapt.recipes.model_building import build_model, frozen_part, pooler_options
from voxadapt.recipes.prepare import (
    BAD_AUDIO_FILE,
    PreparedCorpus,
    build_backbone,
    feature_period,
    prepare_features,
    read_clips,
)
from voxadapt.recipes.process_group import finish_log, join_processes, start_log
from voxadapt.recipes.report import write_report
from voxadapt.recipes.run_folder import check_out, claim_out, read_record, versions, write_json
from voxadapt.recipes.run_results import join_runs, log_result, split_record

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Run the recipe and return what stands in ``metrics.json``."""
    options = parse(FinetuneOptions, argv, prog="finetune.py")
    config = dataclasses.asdict(options)
    out = check_out(options.out, "finetune", config, resume=options.resume)
    accelerator = join_processes(options.precision)
    clips = read_clips(options, accelerator, label=options.label)
    # Splits are drawn once before anything is computed: whatever is wrong with them is said now.
    folds = chosen_folds(options, [clip.fold for clip in clips])
    for fold in folds:
        draw_splits(clips, options, options.seed, fold)
    pooler_options(options)
    backbone = load_whole(options)
    frozen = frozen_part(backbone, options)
    before = read_record(out) if options.resume else None
    choice = (before or {}).get("adapter") or choose_adapter(options, backbone)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        claim_out(out, "finetune", config, adapter=choice)
    corpus = prepare_features(clips, frozen, options, accelerator, out / BAD_AUDIO_FILE)

    plan = [(fold, options.seed + number) for fold in folds for number in range(options.seeds)]
    results: list[tuple[Path, dict[str, Any]]] = []
    for fold, seed in plan:
        folder = out if len(plan) == 1 else out / f"fold-{fold or 'none'}" / f"seed-{seed}"
        if len(plan) > 1:
            logger.info("run %d of %d: fold %s, seed %d", len(results) + 1, len(plan), fold, seed)
        result = run_once(
            corpus, backbone, frozen, choice, options, seed, fold, accelerator, folder
        )
        if result is None:
            logger.info("stopped; go on with --resume")
            return None
        results.append((folder, result))
    metrics = results[0][1]
    if len(plan) > 1:
        metrics = join_runs(out, results, options)
        if accelerator.is_main_process:
            write_json(out / "metrics.json", metrics)
            best = max(results, key=lambda pair: pair[1]["valid"]["ua"])[0]
            shutil.copytree(best / "model", out / "model", dirs_exist_ok=True)
            logger.info("model of the run that did best on validation: %s", out / "model")
    log_result(out, metrics)
    return metrics


def load_whole(options: FinetuneOptions) -> Backbone:
    """The backbone that the options name; in float32 where layers of it train.

    Raises:
        BackboneError: It cannot be had, or has no such layer.
    """
    if tuning_of(options) is None:
        return build_backbone(options)
    return build_backbone(dataclasses.replace(options, precision="fp32"))


def chosen_folds(options: FinetuneOptions, found: Sequence[str | None]) -> list[str | None]:
    """The folds to run: ``[None]`` where no fold is asked for.

    Raises:
        UsageError: ``--fold all`` without a ``fold`` column.
    """
    if options.fold != "all":
        return [options.fold]
    folds = sorted({fold for fold in found if fold})
    if not folds:
        raise UsageError("--fold all: the manifest has no `fold` column; add one, or leave --fold")
    return list(folds)


def draw_splits(clips: list[Any], options: FinetuneOptions, seed: int, fold: str | None) -> Splits:
    """Train, validation and test part of one run."""
    return make_splits(
        clips,
        seed=stable_seed(seed, "splits"),
        fold=fold,
        allow_speaker_overlap=options.allow_speaker_overlap,
    )


def run_once(
    corpus: PreparedCorpus,
    backbone: Backbone,
    frozen: Backbone,
    choice: str,
    options: FinetuneOptions,
    seed: int,
    fold: str | None,
    accelerator: Accelerator,
    out: Path,
) -> dict[str, Any] | None:
    """One run: train, choose the epoch, save, load back, score the test part, report."""
    started = time.perf_counter()
    if options.resume and (out / "metrics.json").exists():
        if accelerator.is_main_process:
            write_report(out)  # it comes last: a run killed just before has none
        return dict(json.loads((out / "metrics.json").read_text(encoding="utf-8")))
    out.mkdir(parents=True, exist_ok=True)
    splits = draw_splits(corpus.clips, options, seed, fold)
    for note in splits.notes:
        logger.info("note: %s", note)
    data = label_frames(corpus, splits, frozen)
    logger.info(
        "%d clips to train, %d to validate, %d to test; classes: %s",
        *(len(part) for part in (splits.train, splits.valid, splits.test)),
        ", ".join(data.labels),
    )

    model = build_model(
        choice,
        options,
        backbone,
        corpus.store,
        splits.train,
        len(data.labels),
        seed,
        accelerator.device,
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    start_log(accelerator, out)
    state = fit(model, data, options, seed, accelerator, out)
    finish_log(accelerator)
    if state is None:
        return None

    if accelerator.is_main_process:
        classifier = SpeechClassifier(frozen, model, data.labels)
        classifier.extras = {"adapter": choice, "options": dataclasses.asdict(options)}
        classifier.save_pretrained(out / "model")
    accelerator.wait_for_everyone()
    loaded = SpeechClassifier.from_pretrained(out / "model", backbone=backbone)
    metrics = score_test(loaded, data, state, options, seed, accelerator, out)
    metrics |= {
        "fold": fold,
        "adapter": choice,
        "left_out": len(corpus.bad),
        "parameters_trained": trained,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if accelerator.is_main_process:
        write_json(out / "history.json", state.history)
        write_json(out / "splits.json", split_record(data))
        write_json(out / "metrics.json", metrics)
        write_report(out)
    accelerator.wait_for_everyone()
    return metrics


def label_frames(corpus: PreparedCorpus, splits: Splits, backbone: Backbone) -> LabelledFrames:
    """Number the classes by the sorted labels of the training part."""
    labels = sorted({str(corpus.clips[index].label) for index in splits.train})
    number = {label: row for row, label in enumerate(labels)}
    return LabelledFrames(
        clips=corpus.clips,
        store=corpus.store,
        labels=labels,
        # -1 can only be a clip of no part; splits have refused labels that train never had
        targets=np.array([number.get(str(clip.label), -1) for clip in corpus.clips]),
        splits=splits,
        frame_rate=backbone.spec.frame_rate,
        # Of a learnt sum over layers, the bands are those of the sum.
        feature_period=feature_period(backbone) // backbone.spec.layer_outputs,
    )


def score_test(
    loaded: SpeechClassifier,
    data: LabelledFrames,
    state: FitState,
    options: FinetuneOptions,
    seed: int,
    accelerator: Accelerator,
    out: Path,
) -> dict[str, Any]:
    """Score the test part once, with the model that was saved and loaded back."""
    indices = data.splits.test
    classifier = loaded.frame_classifier.to(accelerator.device)
    budget = max(1, round(options.batch_seconds * data.frame_rate))
    probabilities = classify_clips(classifier, data.store, indices, accelerator, budget=budget)
    clips = [data.clips[index] for index in indices]
    if accelerator.is_main_process:
        write_predictions(out / "predictions.jsonl", clips, probabilities, data.labels)
    best, mix = state.history[state.best_epoch], classifier.layer_mix
    return {
        **score_probabilities(
            data.labels, data.targets[indices], probabilities, [clip.speaker for clip in clips]
        ),
        "protocol": data.splits.protocol,
        "by_fold": [],
        **({} if mix is None else {"layer_weights": mix.weights.tolist()}),
        "seed": seed,
        "best_epoch": state.best_epoch + 1,
        "valid": {name: best[f"valid_{name}"] for name in ("ua", "wa", "macro_f1", "loss")},
        "split_sizes": {
            name: len(getattr(data.splits, name)) for name in ("train", "valid", "test")
        },
        "split_fingerprint": data.splits.fingerprint(data.clips),
        "speaker_overlap": data.splits.speaker_overlap,
        "notes": data.splits.notes,
        "config": dataclasses.asdict(options),
        "versions": versions(),
    }


if __name__ == "__main__":
    leave(run_command(main))
