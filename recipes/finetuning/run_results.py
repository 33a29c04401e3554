# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuning run leaves beside its metrics, and how its end is told."""

import json
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.run_plan import PlannedRun
from voxadapt.recipes.scoring.metrics import SCORES
from voxadapt.recipes.scoring.run_reading import read_lines
from voxadapt.recipes.scoring.target_scores import score_names

logger = logging.getLogger(__name__)

Results = list[tuple[PlannedRun, dict[str, Any]]]


def split_record(data: LabelledFrames) -> dict[str, Any]:
    """Which clip was in which part."""
    parts = {
        name: [data.clips[index].id for index in indices]
        for name, indices in data.splits.parts().items()
    }
    return {
        "protocol": data.splits.protocol,
        "protocol_name": data.splits.protocol_name,
        "fingerprint": data.splits.fingerprint(data.clips),
        "notes": data.splits.notes,
        **parts,
    }


def join_predictions(results: Results) -> list[dict[str, Any]]:
    """All runs' predictions, each with its fold and seed."""
    return [
        {**record, "fold": metrics["fold"], "seed": metrics["seed"]}
        for run, metrics in results
        for record in read_lines(run.folder / "predictions.jsonl")
    ]


def write_records(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write one JSON line for each record."""
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_aside(path, text.encode())


_TITLES = {"ua": "UA", "wa": "WA", "macro_f1": "macro-F1", "ccc": "CCC", "pearson": "Pearson"}


def log_result(out: Path, metrics: dict[str, Any]) -> None:
    """Say how the run went and where things are."""
    names = score_names(metrics)
    shown = [name for name in names if metrics[name] is not None]
    scores = ", ".join(_shown(metrics, name) for name in shown)
    logger.info("test: %s (%d clips, protocol %s)", scores, metrics["n"], metrics["protocol"])
    low, high = (_scale(names[0]) * edge for edge in metrics["ci95"][names[0]])
    of, unit = metrics.get("pooled"), metrics["ci95"]["unit"]
    told = f"all clips pooled: {_shown(of, names[0])}, " if of else ""
    logger.info("%s95 %% interval %.2f to %.2f, over %ss", told, low, high, unit)
    for other in metrics.get("cross_corpus", []):
        told = ", ".join(_shown(other, name) for name in names[:2] if other[name] is not None)
        logger.info("test on %s: %s (%d clips)", other["name"], told, other["n"])
    if "layer_weights" in metrics:
        shares = enumerate(metrics["layer_weights"])
        logger.info("layers: %s", ", ".join(f"{layer}: {share:.3f}" for layer, share in shares))
    logger.info("model %s, metrics %s", out / "model", out / "metrics.json")
    if (out / "report.html").exists():
        logger.info("report %s", out / "report.html")
    logger.info("use it:  voxadapt predict %s CLIP.wav", shlex.quote(str(out)))


def _scale(name: str) -> int:
    """Shares are shown in per cent, values as they are."""
    return 100 if name in SCORES else 1


def _shown(metrics: dict[str, Any], name: str) -> str:
    scale, spread = _scale(name), metrics.get("std")
    digits = 2 if scale == 100 else 3
    text = f"{_TITLES.get(name, name)} {scale * metrics[name]:.{digits}f}"
    return text + (f" ± {scale * spread[name]:.{digits}f}" if spread else "")
