# SPDX-License-Identifier: Apache-2.0
"""One fine-tuning run: train, choose the epoch, save, load back, score the test part, report."""

import dataclasses
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from voxadapt.backbones import Backbone
from voxadapt.classifier import SpeechClassifier
from voxadapt.classifier_folder import keep_results
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.recipes.corpora.batching import padded_budget
from voxadapt.recipes.corpora.splits import Splits
from voxadapt.recipes.finetuning.copied_audio import find_copies
from voxadapt.recipes.finetuning.fit_classifier import FitState, LabelledFrames, fit
from voxadapt.recipes.finetuning.labelled_frames import number_targets
from voxadapt.recipes.finetuning.linear_start import start_linear
from voxadapt.recipes.finetuning.model_building import build_model
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import PlannedRun, draw_splits
from voxadapt.recipes.finetuning.run_results import split_record
from voxadapt.recipes.finetuning.start_lines import describe_classes, describe_training
from voxadapt.recipes.finetuning.temperature import (
    Calibration,
    activate_logits,
    describe_calibration,
    fit_temperatures,
    raw_logits,
)
from voxadapt.recipes.report import write_report
from voxadapt.recipes.reporting.clip_inspection import record_inspection
from voxadapt.recipes.running.prepare import PreparedCorpus, feature_period
from voxadapt.recipes.running.process_group import finish_log, start_log
from voxadapt.recipes.running.run_folder import versions, write_json
from voxadapt.recipes.scoring.evaluation import classify_clips, write_predictions
from voxadapt.recipes.scoring.other_corpora import OtherCorpus, score_others
from voxadapt.recipes.scoring.part_scores import clip_seconds
from voxadapt.recipes.scoring.target_scores import (
    describe_outputs,
    score_names,
    score_outputs,
    unknown_label_notes,
)

logger = logging.getLogger(__name__)


@dataclass
class SharedParts:
    """What all runs of a command have in common.

    Attributes:
        options: The options.
        accelerator: The process group.
        corpus: Clips and their frames.
        backbone: The whole encoder.
        frozen: The part of it that stays as it is, whose frames are in the corpus.
        adapter: The adapter: a folder, `random` or `none`.
        others: Corpora that are only tested on.
        left_out_labels: Clips that a label map left out, by their label.
    """

    options: FinetuneOptions
    accelerator: Accelerator
    corpus: PreparedCorpus
    backbone: Backbone
    frozen: Backbone
    adapter: str
    others: list[OtherCorpus] = field(default_factory=list)
    left_out_labels: dict[str, int] = field(default_factory=dict)


def run_once(shared: SharedParts, run: PlannedRun) -> dict[str, Any] | None:
    """One run.

    Args:
        shared: What it has in common with the command's other runs.
        run: Its fold, seed and folder.

    Returns:
        What stands in its ``metrics.json``; None if ``--max-epochs`` ended it early.
    """
    started = time.perf_counter()
    options, accelerator, out = shared.options, shared.accelerator, run.folder
    if options.resume and (out / "metrics.json").exists():
        if accelerator.is_main_process:
            write_report(out)  # it comes last: a run killed just before has none
        return dict(json.loads((out / "metrics.json").read_text(encoding="utf-8")))
    out.mkdir(parents=True, exist_ok=True)
    splits = draw_splits(shared.corpus.clips, options, run.seed, run.fold)
    splits.notes += find_copies(shared.corpus, splits)
    for note in splits.notes:
        logger.info("note: %s", note)
    data = label_frames(shared.corpus, splits, shared.frozen, options)
    logger.info(
        "%d clips to train, %d to validate, %d to test; %s",
        *(len(part) for part in (splits.train, splits.valid, splits.test)),
        describe_outputs(data.outputs),
    )
    if classes := describe_classes(data):
        logger.info("%s", classes)

    model = make_model(shared, data, run.seed)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    state = fit_and_log(model, data, options, run.seed, accelerator, out)
    if state is None:
        return None
    budget = padded_budget(options.batch_seconds, data.frame_rate)
    # Before `refit`: that model learns from the validation part as well.
    data.outputs, calibration = fit_temperatures(model, data, accelerator, budget)
    if options.refit:
        refitted = refit(shared, data, run.seed, out, epochs=state.best_epoch + 1)
        if refitted is None:
            return None
        model = refitted

    if accelerator.is_main_process:
        classifier = SpeechClassifier(shared.frozen, model, data.outputs)
        classifier.extras = {
            "adapter": shared.adapter,
            "licence": options.licence,
            "options": dataclasses.asdict(options),
        }
        classifier.save_pretrained(out / "model")
    accelerator.wait_for_everyone()
    loaded = SpeechClassifier.from_pretrained(out / "model", backbone=shared.backbone)
    metrics = score_test(loaded, data, state, options, run.seed, accelerator, out, calibration)
    if shared.others:
        metrics["cross_corpus"] = score_others(shared.others, loaded, accelerator, budget, out)
    metrics |= {
        "fold": run.fold,
        **({"refit_clips": len(splits.train) + len(splits.valid)} if options.refit else {}),
        "adapter": shared.adapter,
        "left_out": len(shared.corpus.bad),
        **({"left_out_labels": shared.left_out_labels} if shared.left_out_labels else {}),
        "parameters_trained": trained,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if accelerator.is_main_process:
        write_json(out / "history.json", state.history)
        write_json(out / "splits.json", split_record(data))
        record_inspection(
            out,
            loaded.frame_classifier,
            data,
            shown=options.report_clips,
            mapped=options.report_map,
            budget=budget,
            seed=run.seed,
        )
        keep_results(out / "model", metrics)
        write_json(out / "metrics.json", metrics)
        write_report(out)
    accelerator.wait_for_everyone()
    return metrics


def make_model(shared: SharedParts, data: LabelledFrames, seed: int) -> FrameClassifier:
    """The model that a run begins with, standardised by its training part and probed on it."""
    model = build_model(
        shared.adapter,
        shared.options,
        shared.backbone,
        shared.corpus.store,
        data.splits.train,
        data.outputs.size,
        seed,
        shared.accelerator.device,
    )
    start_linear(model, data, shared.options, seed)
    return model


def fit_and_log(
    model: FrameClassifier,
    data: LabelledFrames,
    options: FinetuneOptions,
    seed: int,
    accelerator: Accelerator,
    out: Path,
    *,
    epochs: int | None = None,
) -> FitState | None:
    """As `fit`, with a log in the folder; Accelerate keeps hold of nothing afterwards."""
    start_log(accelerator, out)
    logger.info("%s", describe_training(data, options, seed, accelerator, epochs=epochs))
    state = fit(model, data, options, seed, accelerator, out, epochs=epochs)
    finish_log(accelerator)
    # It would keep model and optimiser of every fold and seed until the command ends.
    accelerator.free_memory()
    return state


def refit(
    shared: SharedParts, data: LabelledFrames, seed: int, out: Path, *, epochs: int
) -> FrameClassifier | None:
    """Train once more from the start, on the training and validation part together.

    Args:
        shared: What the run has in common with the command's other runs.
        data: Clips, frames and splits of the run.
        seed: The run's seed.
        out: The run's folder; this training keeps its checkpoint and its log in ``refit`` there.
        epochs: For how many epochs: as many as the validation part chose.

    Returns:
        The model; None if ``--max-epochs`` ended it early.
    """
    out = out / "refit"
    everything = sorted([*data.splits.train, *data.splits.valid])
    data = dataclasses.replace(
        data, splits=dataclasses.replace(data.splits, train=everything, valid=[])
    )
    model = make_model(shared, data, seed)
    out.mkdir(exist_ok=True)
    state = fit_and_log(model, data, shared.options, seed, shared.accelerator, out, epochs=epochs)
    return None if state is None else model


def label_frames(
    corpus: PreparedCorpus, splits: Splits, backbone: Backbone, options: FinetuneOptions
) -> LabelledFrames:
    """Turn labels or values into numbers, by the training part."""
    outputs, targets = number_targets(corpus.clips, splits.train, options)
    further = unknown_label_notes(outputs, targets, splits.parts())
    for note in further:
        logger.info("note: %s", note)
    splits.notes += further
    return LabelledFrames(
        clips=corpus.clips,
        store=corpus.store,
        outputs=outputs,
        targets=targets,
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
    calibration: Calibration,
) -> dict[str, Any]:
    """Score the test part once, with the model that was saved and loaded back."""
    indices = data.splits.test
    classifier = loaded.frame_classifier.to(accelerator.device)
    budget = padded_budget(options.batch_seconds, data.frame_rate)
    logits = classify_clips(
        classifier, data.store, indices, accelerator, budget=budget, activation=raw_logits
    )
    activated = activate_logits(loaded.outputs, logits)
    clips = [data.clips[index] for index in indices]
    seconds = clip_seconds(data.store, indices, data.frame_rate)
    if accelerator.is_main_process:
        write_predictions(out / "predictions.jsonl", clips, activated, data.outputs, seconds)
    best, mix = state.history[state.best_epoch], classifier.layer_mix
    speakers = [clip.speaker for clip in clips]
    results = score_outputs(data.outputs, data.targets[indices], activated, speakers, seconds)
    return {
        **results,
        **describe_calibration(data.outputs, data.targets[indices], logits, calibration),
        "protocol": data.splits.protocol,
        "protocol_name": data.splits.protocol_name,
        "by_fold": [],
        **({} if mix is None else {"layer_weights": mix.weights.tolist()}),
        "seed": seed,
        "best_epoch": state.best_epoch + 1,
        "valid": {name: best[f"valid_{name}"] for name in (*score_names(results), "loss")},
        **count_parts(data),
        "split_fingerprint": data.splits.fingerprint(data.clips),
        "test_fingerprint": data.splits.test_fingerprint(data.clips),
        "speaker_overlap": data.splits.speaker_overlap,
        "notes": data.splits.notes,
        "config": dataclasses.asdict(options),
        "versions": versions(),
    }


def count_parts(data: LabelledFrames) -> dict[str, Any]:
    """Clips, clips of each class, and speakers, of train, valid and test."""
    parts = data.splits.parts()
    labels = {
        name: Counter(str(data.clips[index].label) for index in part)
        for name, part in parts.items()
    }
    return {
        "split_sizes": {name: len(part) for name, part in parts.items()},
        "class_counts": {
            name: {label: counts[label] for label in data.labels} for name, counts in labels.items()
        },
        "speaker_counts": {
            name: len({data.clips[index].speaker for index in part} - {None})
            for name, part in parts.items()
        },
    }
