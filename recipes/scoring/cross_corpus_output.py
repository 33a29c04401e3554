# SPDX-License-Identifier: Apache-2.0
"""A matrix of scores over corpora as text, CSV and a heat map."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.reporting.picture import new_figure, save_figure
from voxadapt.recipes.scoring.compare_output import markdown_table

_COLUMNS = ("train", "test", "n", "ua", "ua_std", "ua_low", "ua_high", "wa", "macro_f1")


def matrix_table(result: Mapping[str, Any]) -> str:
    """UA in per cent as a Markdown table, rows = trained on, columns = tested on."""
    names = [corpus["name"] for corpus in result["corpora"]]
    rows = [["UA, %: trained on ↓, tested on →", *names]]
    rows += [[row["train"], *(_cell(cell) for cell in row["cells"])] for row in result["rows"]]
    return markdown_table(rows)


def _cell(cell: Mapping[str, Any]) -> str:
    std = cell["std"]
    return f"{100 * cell['ua']:.2f}" + (f" ± {100 * std['ua']:.2f}" if std else "")


def write_matrix(result: Mapping[str, Any], path: Path) -> None:
    """Write one line for each pair of corpora, scores as fractions."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in result["rows"]:
        for cell in row["cells"]:
            low, high = cell["ci95"]["ua"] if cell["ci95"] else ("", "")
            writer.writerow(
                {
                    "train": row["train"],
                    **{name: cell[name] for name in ("test", "n", "ua", "wa", "macro_f1")},
                    "ua_std": cell["std"]["ua"] if cell["std"] else "",
                    "ua_low": low,
                    "ua_high": high,
                }
            )
    write_aside(path, text.getvalue().encode())


def draw_matrix(result: Mapping[str, Any], path: Path) -> None:
    """Draw UA as a heat map, coloured from chance to 100 %.

    Args:
        result: What `cross_corpus` found.
        path: The picture to write.
    """
    names = [corpus["name"] for corpus in result["corpora"]]
    scores = np.array([[cell["ua"] for cell in row["cells"]] for row in result["rows"]])
    figure = new_figure(2.6 + 1.1 * len(names), 1.8 + 0.8 * len(names))
    axes = figure.subplots()
    chance = 1 / len(result["labels"])
    image = axes.imshow(100 * scores, cmap="cividis", vmin=100 * chance, vmax=100)
    figure.colorbar(image, label="UA, % (darkest: chance or below)", shrink=0.8)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    middle = (chance + 1) / 2
    for row, column in np.ndindex(scores.shape):
        value = scores[row, column]
        axes.text(
            column,
            row,
            f"{100 * value:.1f}",
            ha="center",
            va="center",
            color="black" if value > middle else "white",
            weight="bold" if row == column else "normal",
        )
    save_figure(figure, path)
