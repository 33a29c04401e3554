# SPDX-License-Identifier: Apache-2.0
"""What fine-tuning runs leave beside their metrics: the split, and the mean of several runs."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from voxadapt.recipes.finetune_options import FinetuneOptions
from voxadapt.recipes.fit_classifier import LabelledFrames
from voxadapt.recipes.metrics import average_runs, bootstrap_interval
from voxadapt.recipes.run_folder import versions

logger = logging.getLogger(__name__)


def split_record(data: LabelledFrames) -> dict[str, Any]:
    """Which clip was in which part."""
    parts = {
        name: [data.clips[index].id for index in getattr(data.splits, name)]
        for name in ("train", "valid", "test")
    }
    return {"protocol": data.splits.protocol, "notes": data.splits.notes, **parts}


def join_runs(
    out: Path, results: list[tuple[Path, dict[str, Any]]], options: FinetuneOptions
) -> dict[str, Any]:
    """Metrics over folds and seeds: means, their spread, and each run."""
    runs = [result for _, result in results]
    averages = average_runs(runs)
    folds = sorted({run["fold"] for run in runs if run["fold"] is not None})
    names = ("ua", "wa", "macro_f1")
    return {
        "labels": runs[0]["labels"],
        "n": sum(run["n"] for run in runs),
        **{name: averages[name]["mean"] for name in names},
        "std": {name: averages[name]["std"] for name in names},
        "confusion": np.sum([run["confusion"] for run in runs], axis=0).tolist(),
        "protocol": runs[0]["protocol"],
        "by_fold": [
            {"fold": fold, **average_runs([run for run in runs if run["fold"] == fold])}
            for fold in folds
        ],
        "ci95": pooled_interval([folder for folder, _ in results], runs[0]["labels"]),
        "seed": options.seed,
        "seeds": options.seeds,
        "runs": [
            {
                "folder": str(folder.relative_to(out)),
                **{key: run[key] for key in ("fold", "seed", "best_epoch", "split_fingerprint")},
                **{name: run[name] for name in names},
            }
            for folder, run in results
        ],
        **mean_layer_weights(runs),
        "adapter": runs[0]["adapter"],
        "left_out": runs[0]["left_out"],
        "parameters_trained": runs[0]["parameters_trained"],
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "speaker_overlap": any(run["speaker_overlap"] for run in runs),
        "notes": runs[0]["notes"],
        "config": dataclasses.asdict(options),
        "versions": versions(),
    }


def mean_layer_weights(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The weights of the layers, where a sum over them was learnt, averaged over runs."""
    weights = [run["layer_weights"] for run in runs if "layer_weights" in run]
    return {"layer_weights": np.mean(weights, axis=0).tolist()} if weights else {}


def pooled_interval(folders: list[Path], labels: list[str]) -> dict[str, Any]:
    """95 % interval over the clips of all runs; the seeds' predictions of a clip stay together.

    Args:
        folders: The runs.
        labels: Names of the classes; runs of folds that lack a class have fewer.
    """
    records = [
        json.loads(line)
        for folder in folders
        for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    labels = sorted(
        {*labels, *(record[name] for record in records for name in ("label", "predicted"))}
    )
    true, predicted = (
        np.array([labels.index(record[name]) for record in records])
        for name in ("label", "predicted")
    )
    clips = [record["id"] for record in records]
    return {**bootstrap_interval(labels, true, predicted, speakers=clips), "unit": "clip"}


def log_result(out: Path, metrics: dict[str, Any]) -> None:
    """Say how the run went and where things are."""
    spread = metrics.get("std")
    scores = ", ".join(
        f"{title} {100 * metrics[name]:.2f}" + (f" ± {100 * spread[name]:.2f}" if spread else "")
        for title, name in (("UA", "ua"), ("WA", "wa"), ("macro-F1", "macro_f1"))
    )
    logger.info("test: %s (%d clips, protocol %s)", scores, metrics["n"], metrics["protocol"])
    if "layer_weights" in metrics:
        shares = enumerate(metrics["layer_weights"])
        logger.info("layers: %s", ", ".join(f"{layer}: {share:.3f}" for layer, share in shares))
    logger.info("model %s, metrics %s", out / "model", out / "metrics.json")
    if (out / "report.html").exists():
        logger.info("report %s", out / "report.html")
    logger.info("use it:  voxadapt predict %s CLIP.wav", out)
