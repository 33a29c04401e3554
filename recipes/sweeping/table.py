# SPDX-License-Identifier: Apache-2.0
"""What a sweep found: one row for each layer and pooler, as CSV, JSON and text."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxadapt.recipes.scoring.target_scores import selection_score
from voxadapt.recipes.sweeping.options import Cell

_COLUMNS = ("layer", "pool", "fold", "seed")


@dataclass(frozen=True)
class CellResult:
    """The scores of a layer with a pooler.

    Attributes:
        cell: The layer and pooler.
        mean: Mean test score over the runs: UA, or CCC of a regression.
        std: Its standard deviation over the runs; 0 of a single one.
        valid: The mean score on the validation parts.
        interval: The 95 % interval of the test score; None where there is none.
        runs: Fold, seed and scores of each run.
        metrics: ``metrics.json``.
    """

    cell: Cell
    mean: float
    std: float
    valid: float
    interval: list[float] | None
    runs: list[dict[str, Any]]
    metrics: dict[str, Any]


def read_cell(cell: Cell) -> CellResult | None:
    """Read a finished cell; None where it is not finished."""
    path = cell.folder / "metrics.json"
    if not path.exists():
        return None
    metrics = json.loads(path.read_text(encoding="utf-8"))
    score = selection_score(metrics)
    names = [name for name in ("ua", "wa", "macro_f1", "ccc", "mae") if name in metrics]
    runs = [
        {
            "fold": run["fold"],
            "seed": run["seed"],
            **{name: run[name] for name in names if name in run},
            f"valid_{score}": run.get(f"valid_{score}", run.get("valid", {}).get(score)),
        }
        for run in metrics.get("runs", [metrics])
    ]
    valid = [run[f"valid_{score}"] for run in runs if run[f"valid_{score}"] is not None]
    return CellResult(
        cell,
        metrics[score],
        metrics.get("std", {}).get(score, 0.0),
        float(np.mean(valid)) if valid else float("nan"),
        metrics.get("ci95", {}).get(score),
        runs,
        metrics,
    )


def chosen_result(results: Sequence[CellResult]) -> CellResult:
    """The result that validation would choose: the only choice whose test score is fair."""
    return max(results, key=lambda result: (result.valid, -_depth(result)))


def _depth(result: CellResult) -> int:
    return result.cell.layer if isinstance(result.cell.layer, int) else 10_000


def as_csv(results: Sequence[CellResult]) -> str:
    """One line for each run."""
    rows = [
        {"layer": result.cell.layer, "pool": result.cell.pool, **run}
        for result in results
        for run in result.runs
    ]
    names = list(dict.fromkeys([*_COLUMNS, *(name for row in rows for name in row)]))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(results: Sequence[CellResult], out: Path) -> dict[str, Any]:
    """All of it, with the cell that validation chooses."""
    chosen = chosen_result(results)
    return {
        "score": selection_score(results[0].metrics),
        "chosen_on_validation": {"layer": chosen.cell.layer, "pool": chosen.cell.pool},
        "cells": [
            {
                "layer": result.cell.layer,
                "pool": result.cell.pool,
                "folder": result.cell.folder.relative_to(out).as_posix(),
                "mean": result.mean,
                "std": result.std,
                "valid": result.valid,
                "ci95": result.interval,
                "runs": result.runs,
                **(
                    {"layer_weights": result.metrics["layer_weights"]}
                    if "layer_weights" in result.metrics
                    else {}
                ),
            }
            for result in results
        ],
    }


def as_text(results: Sequence[CellResult]) -> str:
    """A table for a terminal: layers down, poolers across; ``*`` is what validation chooses."""
    chosen = chosen_result(results)
    pools = list(dict.fromkeys(result.cell.pool for result in results))
    layers = list(dict.fromkeys(result.cell.layer for result in results))
    found = {(result.cell.layer, result.cell.pool): result for result in results}
    several = any(len(result.runs) > 1 for result in results)
    ccc = selection_score(results[0].metrics) == "ccc"
    width = 16 if several else 10

    def tell(result: CellResult | None) -> str:
        if result is None:
            return "–"
        scale, digits = (1, 3) if ccc else (100, 1)
        told = f"{scale * result.mean:.{digits}f}"
        told += f" ± {scale * result.std:.{digits}f}" if several else ""
        return f"{told} {'*' if result is chosen else ' '}"

    name = "CCC" if ccc else "UA, %"
    lines = [f"{name:<10}" + "".join(f"{pool + '  ':>{width}}" for pool in pools)]
    for layer in layers:
        cells = "".join(f"{tell(found.get((layer, pool))):>{width}}" for pool in pools)
        lines.append(f"{layer if layer == 'weighted' else f'layer {layer}':<10}{cells}")
    lines.append(
        f"* best on validation: {chosen.cell.title}. Compare layers on validation; a layer picked "
        "for its test score is picked on the test part"
    )
    return "\n".join(lines)
