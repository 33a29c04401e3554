# SPDX-License-Identifier: Apache-2.0
"""The report of several folds and seeds: each run's scores, and all of them together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from voxadapt.recipes.reporting.bands import Band, band_chart
from voxadapt.recipes.reporting.calibration import calibration_section
from voxadapt.recipes.reporting.corpora import corpora_section
from voxadapt.recipes.reporting.figures import share_bar
from voxadapt.recipes.reporting.head import head_section
from voxadapt.recipes.reporting.page import percent, text
from voxadapt.recipes.reporting.regression import joined_regression_head, scatter_section
from voxadapt.recipes.reporting.sections import (
    layers_section,
    matrix_section,
    recall_section,
    settings_section,
    two_columns,
)

_SHOWN_RUNS = 30


@dataclass(frozen=True)
class JoinedRecord:
    """What several finished runs left.

    Attributes:
        name: The folder's name.
        metrics: ``metrics.json`` of them all.
        runs: ``metrics.json`` of each.
        histories: ``history.json`` of each.
        predictions: The records of all of them.
        has_report: Whether each has a page of its own.
    """

    name: str
    metrics: dict[str, Any]
    runs: list[dict[str, Any]]
    histories: list[list[dict[str, float]]]
    predictions: list[dict[str, Any]]
    has_report: list[bool]


def joined_body(record: JoinedRecord) -> tuple[str, str]:
    """Title and body of the page."""
    metrics = dict(record.metrics)
    if metrics.get("task") == "regression":
        head = joined_regression_head(record.name, metrics)
        sections: tuple[str, ...] = (
            head,
            runs_section(record, "ccc"),
            scatter_section(record.predictions),
            curves_section(record.histories, "valid_ccc", "Concordance (CCC), validation", None),
            settings_section(record.name, metrics),
        )
        return f"{record.name}: CCC {metrics['ccc']:.3f}", "\n".join(sections)
    chance = 1 / len(metrics["labels"])
    metrics.setdefault("per_class_recall", _recall(metrics))
    sections = (
        head_section(record.name, metrics, None),
        runs_section(record, "ua"),
        '<div class="pair">',
        matrix_section(metrics),
        recall_section(metrics),
        "</div>",
        corpora_section(metrics),
        curves_section(
            record.histories, "valid_ua", "Unweighted accuracy, validation, %", ("chance", chance)
        ),
        layers_section(metrics),
        two_columns(metrics, calibration_section(record.predictions, metrics.get("ece"))),
        settings_section(record.name, metrics),
    )
    title = f"{record.name}: UA {percent(metrics['ua'])} ± {100 * metrics['std']['ua']:.1f}"
    return title, "\n".join(filter(None, sections))


def _recall(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        label: row[number] / sum(row) if sum(row) else None
        for number, (label, row) in enumerate(
            zip(metrics["labels"], metrics["confusion"], strict=True)
        )
    }


def runs_section(record: JoinedRecord, score: str) -> str:
    """A bar for each run, with a link to its page."""
    metrics, runs = record.metrics, record.metrics["runs"]
    rows = [
        _run_row(run, has_report, score, metrics[score])
        for run, has_report in zip(runs, record.has_report, strict=True)
    ]
    shown, rest = rows[:_SHOWN_RUNS], rows[_SHOWN_RUNS:]
    further = ""
    if rest:
        further = (
            f'<details class="more"><summary>{len(rest)} further runs</summary><div>'
            f"{_runs_table(rest, score)}</div></details>"
        )
    return f"""<section id="runs">
<h2>Runs</h2>
<p class="lead">The upright mark is the mean. Each name leads to that run’s own report, with its map
of clips, its mistakes and its recordings.</p>
{_folds_table(metrics, score)}
{_runs_table(shown, score)}
{further}
</section>"""


def _runs_table(rows: Sequence[str], score: str) -> str:
    return f"""<table class="list bars runs{" dense" if len(rows) > 10 else ""}">
<thead><tr><th class="name" scope="col">run</th><th class="bar" scope="col"></th>
<th class="number" scope="col">{score.upper()}</th>
<th class="number" scope="col">validation</th><th class="number" scope="col">epoch</th></tr></thead>
<tbody>{"".join(rows)}</tbody>
</table>"""


def _run_row(run: Mapping[str, Any], has_report: bool, score: str, mean: float) -> str:
    told = "" if run["fold"] is None else f"fold {run['fold']}, "
    name = f"<bdi>{text(told)}</bdi>seed {run['seed']}"
    if has_report:
        name = f'<a href="{text(quote(run["folder"]))}/report.html">{name}</a>'
    write: Callable[[float], str] = percent if score != "ccc" else "{:.3f}".format
    valid = run.get(f"valid_{score}")
    return (
        f'<tr><th class="name" scope="row">{name}</th>'
        f'<td class="bar">{share_bar(max(0.0, run[score]), max(0.0, mean))}</td>'
        f'<td class="number">{write(run[score])}</td>'
        f'<td class="number faint">{"–" if valid is None else write(valid)}</td>'
        f'<td class="number faint">{run["best_epoch"]}</td></tr>'
    )


def _folds_table(metrics: Mapping[str, Any], score: str) -> str:
    """Mean and spread over the seeds of each fold, where there are several of both."""
    folds = metrics.get("by_fold") or []
    if len(folds) < 2 or len({run["seed"] for run in metrics["runs"]}) < 2:
        return ""
    scale, digits = (1, 3) if score == "ccc" else (100, 1)
    rows = "".join(
        f'<tr><th class="name" scope="row">fold <bdi>{text(fold["fold"])}</bdi></th>'
        f'<td class="bar">'
        f"{share_bar(max(0.0, fold[score]['mean']), max(0.0, metrics[score]))}</td>"
        f'<td class="number">{scale * fold[score]["mean"]:.{digits}f} ± '
        f"{scale * fold[score]['std']:.{digits}f}</td>"
        f"</tr>"
        for fold in folds
    )
    return f"""<table class="list bars folds">
<thead><tr><th class="name" scope="col">fold, over its seeds</th><th class="bar" scope="col"></th>
<th class="number" scope="col">{score.upper()} ± std</th></tr></thead>
<tbody>{rows}</tbody>
</table>"""


def curves_section(
    histories: Sequence[Sequence[Mapping[str, float]]],
    score: str,
    title: str,
    level: tuple[str, float] | None,
) -> str:
    """Means over the runs by epoch, and the range from the lowest to the highest run."""
    epochs = list(range(1, max(map(len, histories)) + 1))
    loss = band_chart(
        "Loss",
        epochs,
        [
            _over_runs("training", 0, histories, "train_loss", len(epochs)),
            _over_runs("validation", 1, histories, "valid_loss", len(epochs)),
        ],
        axis="epoch",
        from_zero=True,
    )
    scores = [_over_runs("validation", 1, histories, score, len(epochs))]
    reached = band_chart(
        title, epochs, scores, axis="epoch", shares=score != "valid_ccc", level=level
    )
    return f"""<section id="training">
<h2>Training</h2>
<p class="lead">Lines are means over the {len(histories)} runs, and the shade goes from the lowest
run to the highest.</p>
<div class="charts">
{loss}
{reached}
</div>
</section>"""


def _over_runs(
    name: str,
    group: int,
    histories: Sequence[Sequence[Mapping[str, float]]],
    key: str,
    epochs: int,
) -> Band:
    columns = [
        [history[epoch][key] for history in histories if epoch < len(history)]
        for epoch in range(epochs)
    ]
    return Band(
        name,
        group,
        [float(np.mean(column)) for column in columns],
        [min(column) for column in columns],
        [max(column) for column in columns],
    )
