# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning run as one page: what it scored, where it errs, how it learnt, what it was.

    python recipes/report.py runs/finetune --clips 0 --out shared.html

The page is one file that loads nothing, so it can be mailed, archived and opened anywhere. Every
run writes its own; this makes it again, for example without recordings.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.reporting.calibration import calibration_section
from voxadapt.recipes.reporting.clip_inspection import INSPECTION_FILE
from voxadapt.recipes.reporting.clips import clips_section
from voxadapt.recipes.reporting.corpora import corpora_section
from voxadapt.recipes.reporting.embeddings import embeddings_section
from voxadapt.recipes.reporting.head import head_section
from voxadapt.recipes.reporting.joined import JoinedRecord, joined_body
from voxadapt.recipes.reporting.page import build_page, percent
from voxadapt.recipes.reporting.regression import regression_body
from voxadapt.recipes.reporting.sections import (
    curves_section,
    layers_section,
    matrix_section,
    mistakes_section,
    recall_section,
    settings_section,
    two_columns,
)
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.options import require
from voxadapt.recipes.scoring.run_reading import refuse_pretraining

logger = logging.getLogger(__name__)

REPORT_FILE = "report.html"


@dataclass
class ReportOptions:
    """Write the report of a finished fine-tuning run again.

    Args:
        run: The folder that `finetune` wrote: of one run, or of several folds or seeds.
        out: The page; left out, report.html in the run's folder.
        clips: Test clips with picture and recording, at most as many as the run kept (its
            `--report-clips`); left out, all of these. 0 makes a page without recordings, to be
            shared where they must not be.
    """

    run: str
    out: str | None = None
    clips: int | None = None

    def __post_init__(self) -> None:
        require(self.clips is None or self.clips >= 0, "--clips", self.clips, "0 or more")


@dataclass(frozen=True)
class RunRecord:
    """What a finished run left in its folder.

    Attributes:
        folder: The folder.
        metrics: ``metrics.json``.
        history: ``history.json``: one entry for each epoch.
        predictions: ``predictions.jsonl``: one record for each test clip.
        inspection: ``inspection.json``; None where the run has none.
    """

    folder: Path
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    predictions: list[dict[str, Any]]
    inspection: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the recipe and return the page's path."""
    options = parse(ReportOptions, argv, prog="report.py", positionals=("run",), page=__doc__)
    refuse_pretraining(options.run)
    page = None if options.out is None else Path(options.out)
    path = write_report(Path(options.run), page=page, clips=options.clips)
    logger.info("report %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


def write_report(out: Path, *, page: Path | None = None, clips: int | None = None) -> Path:
    """Write ``report.html`` into the folder of a finished fine-tuning run.

    Reads ``metrics.json``, ``history.json``, ``predictions.jsonl`` and, where it is there,
    ``inspection.json`` and the recordings that it names. Of a folder that holds
    several folds or seeds, it reads ``metrics.json``, and these files of each run.

    Args:
        out: The folder.
        page: Where to write instead.
        clips: Clips to show at most; None shows all that the run kept.

    Returns:
        The page.

    Raises:
        UsageError: A file is missing or damaged.
    """
    metrics = read_json(out / "metrics.json")
    name = out.resolve().name
    if "runs" in metrics:
        title, body = joined_body(read_joined(out, name, metrics))
    else:
        title, body = single_body(read_run(out), clips)
    path = page or out / REPORT_FILE
    moving = any(mark in body for mark in ("<audio", 'class="map"'))
    content = build_page(title, body, script=moving).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content)
    except OSError as error:
        raise UsageError(f"{path}: the report cannot be written ({error})") from error
    return path


def single_body(run: RunRecord, clips: int | None) -> tuple[str, str]:
    """Title and body of the page of one run."""
    metrics, found = run.metrics, run.inspection or {}
    kept = found.get("clips", [])
    shown = kept if clips is None else _first_of_each(kept, clips)
    heard = (
        clips_section(
            run.folder,
            shown,
            run.predictions,
            left_out=len(shown) < len(kept),
            uniform=metrics["config"].get("pool") == "mean",
        )
        if shown
        else ""
    )
    if metrics.get("task") == "regression":
        return regression_body(run.name, metrics, run.history, run.predictions, heard)
    sections = (
        head_section(run.name, metrics, len(run.history)),
        '<div class="pair">',
        matrix_section(metrics),
        recall_section(metrics),
        "</div>",
        corpora_section(metrics),
        embeddings_section(found["map"], run.predictions) if "map" in found else "",
        curves_section(metrics, run.history),
        layers_section(metrics),
        two_columns(
            metrics,
            calibration_section(run.predictions, metrics.get("ece"), metrics.get("calibration")),
        ),
        heard,
        mistakes_section(run.predictions),
        settings_section(run.name, metrics),
    )
    return f"{run.name}: UA {percent(metrics['ua'])}", "\n".join(filter(None, sections))


def _first_of_each(kept: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first clips of each kind in turn, in the order they are kept in."""
    rank: dict[str, int] = {}
    order = []
    for row, clip in enumerate(kept):
        rank[clip["kind"]] = rank.get(clip["kind"], 0) + 1
        order.append((rank[clip["kind"]], row))
    return [kept[row] for row in sorted(row for _, row in sorted(order)[:count])]


def read_run(out: Path) -> RunRecord:
    """Read what the report of one run needs.

    Raises:
        UsageError: A file is missing or damaged.
    """
    inspection = None
    if (out / INSPECTION_FILE).exists():
        inspection = read_json(out / INSPECTION_FILE)
    path = out / "predictions.jsonl"
    return RunRecord(
        out,
        read_json(out / "metrics.json"),
        read_json(out / "history.json"),
        [
            _parse(path, line, number)
            for number, line in enumerate(_read_text(path).split("\n"), start=1)
            if line.strip()
        ],
        inspection,
    )


def read_joined(out: Path, name: str, metrics: dict[str, Any]) -> JoinedRecord:
    """Read what the report of several folds or seeds needs.

    Raises:
        UsageError: A file is missing or damaged.
    """
    runs = [read_run(out / run["folder"]) for run in metrics["runs"]]
    return JoinedRecord(
        name,
        metrics,
        [run.metrics for run in runs],
        [run.history for run in runs],
        [record for run in runs for record in run.predictions],
        [(out / run["folder"] / REPORT_FILE).exists() for run in metrics["runs"]],
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"{path}: is missing; the report is made of metrics.json, history.json and "
            "predictions.jsonl, which finetune writes when it ends. Give the folder of a finished "
            "run, or finish it with --resume"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); run finetune again") from None


def read_json(path: Path) -> Any:
    """Read a file of the run.

    Raises:
        UsageError: It is missing or damaged.
    """
    return _parse(path, _read_text(path), None)


def _parse(path: Path, source: str, line: int | None) -> Any:
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}, line {line or error.lineno}: is not JSON ({error.msg}), so the file is "
            "damaged; run finetune again"
        ) from None


if __name__ == "__main__":
    leave(run_command(main))
