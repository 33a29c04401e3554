# SPDX-License-Identifier: Apache-2.0
"""A comparison of runs as a table and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxadapt.recipes.reporting.picture import BLUE, GREY, ORANGE, new_figure, save_figure

_TITLES = {"ua": "UA", "wa": "WA", "macro_f1": "macro-F1"}


def comparison_table(result: Mapping[str, Any]) -> str:
    """The runs as a Markdown table, and below it each one's differences from the first.

    Args:
        result: What `compare` found.
    """
    first = result["runs"][0]["run"]
    rows = [
        ["run", "UA", "95 % interval", "WA", "macro-F1", "seeds × folds", "trained", "seconds"],
        *(_run_cells(run) for run in result["runs"]),
    ]
    unit = result["unit"]
    lines = [
        f"{result['clips']:,} clips that all runs have tested, folds together; intervals over "
        f"{unit}s",
        "",
        markdown_table(rows),
        "",
        f"difference from {first} (points, 95 % interval, p)",
        "",
    ]
    rows = [["run", *_TITLES.values()]]
    for entry in result["differences"]:
        if entry["other"] == first:
            rows.append([entry["run"], *(_difference(entry[name]) for name in _TITLES)])
    return "\n".join([*lines, markdown_table(rows)])


def _run_cells(run: Mapping[str, Any]) -> list[str]:
    low, high = run["ci95"]["ua"]
    std = run["std"] if run["seeds"] > 1 else None
    trained, seconds = run["parameters_trained"], run["seconds"]
    return [
        run["run"],
        f"{100 * run['ua']:.2f}" + (f" ± {100 * std['ua']:.2f}" if std else ""),
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{100 * run['wa']:.2f}",
        f"{100 * run['macro_f1']:.2f}",
        f"{run['seeds']} × {run['folds']}",
        "" if trained is None else f"{trained:,}",
        "" if seconds is None else f"{seconds:,.0f}",
    ]


def _difference(entry: Mapping[str, Any]) -> str:
    low, high = (100 * edge for edge in entry["interval"])
    return f"{100 * entry['difference']:+.2f} ({low:+.2f} to {high:+.2f}, p {entry['p']:.3g})"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, columns aligned; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def draw_comparison(result: Mapping[str, Any], path: Path) -> None:
    """Draw UA of each run, and its difference from the first, each with its interval.

    Args:
        result: What `compare` found.
        path: The picture to write.

    Raises:
        UsageError: Its ending is none that can be drawn, or it cannot be written.
    """
    runs = result["runs"]
    names = [run["run"] for run in runs]
    figure = new_figure(10, 1.6 + 0.45 * len(runs))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1])
    for row, run in enumerate(runs):
        _draw_interval(left, row, run["ua"], run["ci95"]["ua"], BLUE)
    right.axvline(0, color=GREY, linewidth=1)
    for entry in result["differences"]:
        if entry["other"] == names[0]:
            found = entry["ua"]
            low, high = found["interval"]
            sure = low > 0 or high < 0
            row, color = names.index(entry["run"]), BLUE if sure else ORANGE
            _draw_interval(right, row, found["difference"], (low, high), color)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    left.set_xlabel("UA, % (95 % interval)")
    right.set_xlabel(f"UA above {names[0]}, points\n(orange: the interval holds 0)")
    figure.suptitle(f"{result['clips']:,} clips, intervals over {result['unit']}s", fontsize=10)
    save_figure(figure, path)


def _draw_interval(axes: Any, row: int, value: float, edges: Sequence[float], color: str) -> None:
    low, high = (100 * edge for edge in edges)
    axes.plot([low, high], [row, row], color=color, linewidth=2, solid_capstyle="butt")
    axes.plot([100 * value], [row], "o", color=color, markersize=6)
    shown = f"{100 * value:.1f}"
    axes.annotate(
        shown, (100 * value, row), (0, 7), textcoords="offset points", ha="center", size=8
    )
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
