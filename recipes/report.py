# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning run as one page: what it scored, where it errs, how it learnt, what it was.

The page is one file that loads nothing, so it can be mailed, archived and opened anywhere.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxadapt.recipes.command_line import UsageError
from voxadapt.recipes.corpora.written_aside import write_aside
from voxadapt.recipes.report_figures import Series, line_chart
from voxadapt.recipes.report_head import head_section
from voxadapt.recipes.report_page import build_page, percent, text
from voxadapt.recipes.report_tables import (
    confusion_table,
    mistakes_table,
    recall_table,
    settings_list,
)
from voxadapt.recipes.run_folder import flatten

SHOWN_MISTAKES = 20


@dataclass(frozen=True)
class RunRecord:
    """What a finished run left in its folder.

    Attributes:
        name: The folder's name.
        metrics: ``metrics.json``.
        history: ``history.json``: one entry for each epoch.
        predictions: ``predictions.jsonl``: one record for each test clip.
    """

    name: str
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    predictions: list[dict[str, Any]]


def write_report(out: Path) -> Path:
    """Write ``report.html`` into the folder of a finished fine-tuning run.

    Reads ``metrics.json``, ``history.json`` and ``predictions.jsonl`` there, and nothing else.

    Args:
        out: The folder of one run: of several folds or seeds, each has its own.

    Returns:
        The page.

    Raises:
        UsageError: A file is missing or damaged, or the folder holds the mean of several runs.
    """
    run = read_run(out)
    sections = (
        head_section(run.name, run.metrics, len(run.history)),
        '<div class="pair">',
        matrix_section(run.metrics),
        recall_section(run.metrics),
        "</div>",
        curves_section(run),
        mistakes_section(run.predictions),
        settings_section(run.metrics),
    )
    title = f"{run.name}: UA {percent(run.metrics['ua'])}"
    page = build_page(title, "\n".join(sections)).encode()
    path = out / "report.html"
    write_aside(path, lambda stream: stream.write(page))
    return path


def read_run(out: Path) -> RunRecord:
    """Read what the report needs.

    Raises:
        UsageError: As for `write_report`.
    """
    metrics = _read_json(out / "metrics.json")
    if "runs" in metrics:
        folders = ", ".join(str(out / run["folder"]) for run in metrics["runs"][:3])
        raise UsageError(
            f"{out}: holds the mean of {len(metrics['runs'])} runs, and a report is of one run. "
            f"Give the folder of one: {folders} …"
        )
    history = _read_json(out / "history.json")
    path = out / "predictions.jsonl"
    predictions = [
        _parse(path, line, number)
        for number, line in enumerate(_read_text(path).split("\n"), start=1)
        if line.strip()
    ]
    return RunRecord(out.resolve().name, metrics, history, predictions)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"{path}: is missing; the report is made of metrics.json, history.json and "
            "predictions.jsonl, which finetune writes when it ends. Give the folder of a finished "
            "run, or finish it with --resume"
        ) from None


def _read_json(path: Path) -> Any:
    return _parse(path, _read_text(path), None)


def _parse(path: Path, source: str, line: int | None) -> Any:
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}, line {line or error.lineno}: is not JSON ({error.msg}), so the file is "
            "damaged; run finetune again"
        ) from None


def matrix_section(metrics: dict[str, Any]) -> str:
    """The confusion matrix."""
    return f"""<section id="confusion">
<h2>Confusion matrix</h2>
<p class="lead">Clips, and the share of their row: clips of one true class by the class predicted.
Blue is right, orange is wrong.</p>
{confusion_table(metrics["labels"], metrics["confusion"])}
</section>"""


def recall_section(metrics: dict[str, Any]) -> str:
    """One bar a class."""
    table = recall_table(
        metrics["labels"], metrics["confusion"], metrics["per_class_recall"], metrics["ua"]
    )
    return f"""<section id="recall">
<h2>Recall by class</h2>
<p class="lead">The upright mark is their mean, the unweighted accuracy.</p>
{table}
</section>"""


def curves_section(run: RunRecord) -> str:
    """Losses and validation score by epoch."""
    history, chosen = run.history, run.metrics["best_epoch"]
    epochs = [round(entry["epoch"]) + 1 for entry in history]
    losses = [
        Series("training", "blue", [entry["train_loss"] for entry in history]),
        Series("validation", "orange", [entry["valid_loss"] for entry in history]),
    ]
    accuracy = [Series("validation", "orange", [entry["valid_ua"] for entry in history])]
    chance = 1 / len(run.metrics["labels"])
    loss = line_chart("Loss", epochs, losses, chosen=chosen)
    score = line_chart(
        "Unweighted accuracy, %",
        epochs,
        accuracy,
        chosen=chosen,
        shares=True,
        level=("chance", chance),
    )
    return f"""<section id="training">
<h2>Training</h2>
<p class="lead">The kept epoch is the latest whose unweighted accuracy on validation is within one
standard error of the best. Training loss is measured with dropout, hidden features and smoothed
labels, so it can stand above validation’s.</p>
<div class="charts">
{loss}
{score}
</div>
</section>"""


def mistakes_section(predictions: list[dict[str, Any]]) -> str:
    """The wrong predictions that the model was surest of."""
    wrong = [record for record in predictions if record["predicted"] != record["label"]]
    wrong.sort(key=lambda record: -record["probabilities"][record["predicted"]])
    shown = wrong[:SHOWN_MISTAKES]
    if wrong:
        told = f"{len(shown)} of {len(wrong):,} wrong predictions, the surest first."
    else:
        told = "No test clip was predicted wrongly."
    return f"""<section id="mistakes">
<h2>Most confident mistakes</h2>
<p class="lead">{told}</p>
{mistakes_table(shown) if shown else ""}
</section>"""


def settings_section(metrics: dict[str, Any]) -> str:
    """What it takes to run this again, folded away."""
    return f"""<section id="settings">
<details>
<summary>Configuration, versions, split fingerprint</summary>
<div>
<h3>Configuration</h3>
{settings_list(flatten(metrics["config"]))}
<h3>Versions</h3>
{settings_list(metrics["versions"])}
<h3>Split</h3>
<p>Protocol <code>{text(metrics["protocol"])}</code>, fingerprint
<code>{text(metrics["split_fingerprint"])}</code>. Scores on splits with different fingerprints
cannot be compared.</p>
</div>
</details>
</section>"""
