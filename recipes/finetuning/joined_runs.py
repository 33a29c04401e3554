# SPDX-License-Identifier: Apache-2.0
"""Runs of several folds and seeds, joined: means, spreads, and all their predictions together."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxadapt.recipes.corpora.natural_order import natural_key
from voxadapt.recipes.corpora.splits import digest_rows
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import PlannedRun
from voxadapt.recipes.finetuning.run_results import Results
from voxadapt.recipes.running.run_folder import versions
from voxadapt.recipes.scoring import regression_metrics
from voxadapt.recipes.scoring.metrics import (
    SCORES,
    average_runs,
    bootstrap_interval,
    classification_metrics,
    known_speakers,
)
from voxadapt.recipes.scoring.part_scores import scores_by_duration, scores_by_speaker
from voxadapt.recipes.scoring.target_scores import REGRESSION, score_names


def join_runs(
    out: Path,
    results: Results,
    records: Sequence[dict[str, Any]],
    options: FinetuneOptions,
) -> dict[str, Any]:
    """Metrics over folds and seeds: means, their spread, each run, and all predictions together.

    Args:
        out: The command's folder.
        results: The runs, with what stands in their ``metrics.json``.
        records: Their predictions, from `join_predictions`.
        options: The options.
    """
    runs = [metrics for _, metrics in results]
    first, names = runs[0], score_names(runs[0])
    averages = average_runs(runs, names)
    folds = sorted({run["fold"] for run in runs if run["fold"] is not None}, key=natural_key)
    by_seed = [_average(runs, "seed", seed) for seed in sorted({run["seed"] for run in runs})]
    is_regression = first.get("task") == REGRESSION
    kept = ("task", "labels", "dimensions", "adapter", "left_out", "left_out_labels")
    return {
        **{key: first[key] for key in kept if key in first},
        "n": sum(run["n"] for run in runs),
        **{name: averages[name]["mean"] for name in names},
        "std": {name: averages[name]["std"] for name in names},
        "std_over_seeds": spread_over_seeds(by_seed, names),
        "protocol": without_fold(first["protocol"]),
        "protocol_name": first["protocol_name"],
        "by_fold": [_average(runs, "fold", fold) for fold in folds],
        "by_seed": by_seed,
        **(join_values(runs, records) if is_regression else join_classes(runs, records)),
        "seed": options.seed,
        "seeds": options.seeds,
        "runs": [list_run(out, run, metrics) for run, metrics in results],
        **mean_layer_weights(runs),
        **mean_cross_corpus(runs),
        "parameters_trained": first["parameters_trained"],
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "test_fingerprint": digest_rows({tested_row(record) for record in records}),
        "speaker_overlap": any(run["speaker_overlap"] for run in runs),
        "notes": list(dict.fromkeys(note for run in runs for note in run["notes"])),
        "config": dataclasses.asdict(options),
        "versions": versions(),
    }


def join_classes(
    runs: Sequence[dict[str, Any]], records: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What joined runs have of classes: confusion, recall, calibration, and `score_records`."""
    confusion = np.sum([run["confusion"] for run in runs], axis=0)
    joined = {
        "confusion": confusion.tolist(),
        "per_class_recall": recall_of(runs[0]["labels"], confusion),
        "ece": float(np.mean([run["ece"] for run in runs])),
        **score_records(records, runs[0]["labels"]),
    }
    columns = runs[0].get("by_column", {})
    scored = {name: [run["by_column"][name] for run in runs] for name in columns}
    return joined | (
        {"by_column": {name: _average_known(found) for name, found in scored.items()}}
        if columns
        else {}
    )


def _average_known(found: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Mean scores of a label column over the runs that have some of it."""
    known = [scores for scores in found if scores is not None]
    if not known:
        return None
    averages = average_runs(known)
    return {
        "n": sum(scores["n"] for scores in known),
        **{name: averages[name]["mean"] for name in SCORES},
        "std": {name: averages[name]["std"] for name in SCORES},
    }


def join_values(
    runs: Sequence[dict[str, Any]], records: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What joined runs have of values: each dimension's means, and the interval over all clips."""
    names = runs[0]["dimensions"]
    true, predicted = (
        np.array([[record[kind][name] for name in names] for record in records])
        for kind in ("values", "predicted")
    )
    units, unit = resampling_units(records)
    found = regression_metrics.regression_metrics(names, true, predicted)
    interval = regression_metrics.concordance_interval(true, predicted, speakers=units)
    scores = regression_metrics.SCORES
    return {
        "by_dimension": {
            name: {score: _mean_known(runs, name, score) for score in scores} for name in names
        },
        "pooled": {score: found[score] for score in scores},
        "ci95": {**interval, "unit": unit},
    }


def _mean_known(runs: Sequence[dict[str, Any]], name: str, score: str) -> float | None:
    """Mean of a dimension's score over the runs that have it: a constant has no correlation."""
    values = [run["by_dimension"][name][score] for run in runs]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def list_run(out: Path, run: PlannedRun, metrics: dict[str, Any]) -> dict[str, Any]:
    """One line of ``runs``."""
    keys = ("fold", "seed", "best_epoch", "split_fingerprint", "test_fingerprint", "n")
    names = score_names(metrics)
    return {
        "folder": run.folder.relative_to(out).as_posix(),
        **{key: metrics[key] for key in (*keys, *names)},
        f"valid_{names[0]}": metrics["valid"][names[0]],
        **{key: metrics[key] for key in ("seconds", "parameters_trained")},
    }


def _average(runs: Sequence[dict[str, Any]], key: str, value: Any) -> dict[str, Any]:
    chosen = [run for run in runs if run[key] == value]
    averages = average_runs(chosen, score_names(chosen[0]))
    return {key: value, "n": sum(run["n"] for run in chosen), **averages}


def spread_over_seeds(
    by_seed: Sequence[dict[str, Any]], names: Sequence[str]
) -> dict[str, float] | None:
    """Standard deviation over seeds of the mean over folds; None with one seed."""
    if len(by_seed) < 2:
        return None
    means = {name: [entry[name]["mean"] for entry in by_seed] for name in names}
    return {
        name: float(np.std(found, ddof=1)) for name, found in means.items() if None not in found
    }


def without_fold(protocol: str) -> str:
    """What `protocol` says of all folds together."""
    how, colon, rest = protocol.partition(":")
    if not colon:
        return protocol
    overlap = "+speaker-overlap" if rest.endswith("+speaker-overlap") else ""
    return f"{how}:all{overlap}"


def recall_of(labels: Sequence[str], confusion: np.ndarray) -> dict[str, float | None]:
    """Recall by label of a confusion matrix ``[C, C]``, rows = true; None without clips."""
    clips = confusion.sum(axis=1)
    return {
        label: float(confusion[row, row] / clips[row]) if clips[row] else None
        for row, label in enumerate(labels)
    }


def mean_layer_weights(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The weights of the layers, where a sum over them was learnt, averaged over runs."""
    weights = [run["layer_weights"] for run in runs if "layer_weights" in run]
    return {"layer_weights": np.mean(weights, axis=0).tolist()} if weights else {}


def mean_cross_corpus(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores on other corpora, averaged over runs; nothing without ``--test-data``."""
    if not all("cross_corpus" in run for run in runs):
        return {}
    joined = []
    for entries in zip(*(run["cross_corpus"] for run in runs), strict=True):
        names = score_names(entries[0])
        averages = average_runs(entries, names)
        same = ("name", "data", "split", "n", "labels", "label_map", "left_out_labels", "left_out")
        entry = {
            **{key: entries[0][key] for key in same if key in entries[0]},
            **{name: averages[name]["mean"] for name in names},
            "std": {name: averages[name]["std"] for name in names},
        }
        if "confusion" in entries[0]:
            confusion = np.sum([one["confusion"] for one in entries], axis=0)
            entry["confusion"] = confusion.tolist()
            entry["per_class_recall"] = recall_of(entries[0]["labels"], confusion)
        joined.append(entry)
    return {"cross_corpus": joined}


def score_records(records: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Scores of all runs' predictions together.

    Args:
        records: Predictions of several runs.
        labels: Names of the classes; runs of folds that lack a class have fewer.

    Returns:
        ``pooled`` scores, their ``ci95``, ``by_speaker`` and ``by_duration``. A clip's predictions
        by several seeds stay together in a resample, and so do a speaker's clips, where all
        speakers are known and there are enough.
    """
    labels = sorted(
        {*labels, *(record[name] for record in records for name in ("label", "predicted"))}
    )
    number = {label: row for row, label in enumerate(labels)}
    true, predicted = (
        np.array([number[record[name]] for record in records]) for name in ("label", "predicted")
    )
    speakers = [record.get("speaker") for record in records]
    units, unit = resampling_units(records)
    scores = classification_metrics(labels, true, predicted)
    seconds = [record["seconds"] for record in records if record.get("seconds") is not None]
    timed = len(seconds) == len(records)
    return {
        "pooled": {name: scores[name] for name in SCORES},
        "ci95": {**bootstrap_interval(labels, true, predicted, speakers=units), "unit": unit},
        "by_speaker": scores_by_speaker(labels, true, predicted, speakers),
        "by_duration": scores_by_duration(labels, true, predicted, seconds) if timed else [],
    }


def resampling_units(records: Sequence[dict[str, Any]]) -> tuple[list[str], str]:
    """What stays together in a resample: a speaker's clips, else a clip's predictions by all seeds.

    Returns:
        The unit of each record, and whether it is a ``speaker`` or a ``clip``.
    """
    speakers = known_speakers([record.get("speaker") for record in records])
    if speakers is not None:
        return speakers, "speaker"
    return [record["id"] for record in records], "clip"


def tested_row(record: dict[str, Any]) -> tuple[str, str]:
    """Id and label of a prediction, for a fingerprint."""
    return record["id"], str(record.get("label", record.get("values")))
