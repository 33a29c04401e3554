# SPDX-License-Identifier: Apache-2.0
"""Put fine-tuning runs side by side, with paired differences on the clips that all have tested.

    python recipes/compare.py runs/random runs/pretrained --json compare.json --picture compare.png

The first run is what the others are compared with.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.splits import digest_rows
from voxadapt.recipes.reporting.picture import check_picture
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.options import require
from voxadapt.recipes.running.run_folder import make_folder, versions, write_json
from voxadapt.recipes.scoring.compare_output import comparison_table, draw_comparison
from voxadapt.recipes.scoring.metrics import SCORES
from voxadapt.recipes.scoring.paired_bootstrap import (
    Resampled,
    TestedClips,
    group_by_clip,
    resample_runs,
)
from voxadapt.recipes.scoring.run_reading import read_metrics, read_predictions

logger = logging.getLogger(__name__)


@dataclass
class CompareOptions:
    """Put fine-tuning runs side by side, with paired differences on the clips that all have tested.

    Scores are of those clips, all seeds and folds of a run together. Intervals are 95 % percentile
    bootstrap intervals: whole speakers are resampled where they are known, the same ones for all
    runs, and the seeds of a run stay together.

    Args:
        runs: Folders that `finetune` wrote, two or more; the others are compared with the first.
        json: File for everything, JSON.
        picture: File for a picture, PNG, SVG or PDF: scores and differences with their intervals.
        samples: Resamples of the bootstrap.
        seed: Seed of the resampling.
    """

    runs: list[str]
    json: str | None = None
    picture: str | None = None
    samples: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.samples >= 100, "--samples", self.samples, "at least 100")
        if len(self.runs) < 2:
            raise ValueError(f"found {len(self.runs)} run, must be two or more")
        twice = sorted({run for run in self.runs if self.runs.count(run) > 1})
        if twice:
            raise ValueError(f"found {twice[0]} twice; name each run once")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return what it found."""
    options = parse(CompareOptions, argv, prog="compare.py", positionals=("runs",), page=__doc__)
    if options.picture is not None:
        check_picture(Path(options.picture))
    for file in (options.json, options.picture):
        if file is not None and Path(file).exists():
            raise UsageError(f"{file} is there already; nothing was overwritten. Name another file")
    folders = [Path(run) for run in options.runs]
    metrics = [read_metrics(folder) for folder in folders]
    for name, run in zip(options.runs, metrics, strict=True):
        if run.get("task") == "regression":
            raise UsageError(
                f"{name}: is a regression, and only classifications are compared; its CCC and the "
                "interval of it are in its metrics.json"
            )
    tested = [group_by_clip(read_predictions(folder)) for folder in folders]
    clips = shared_clips(options.runs, tested)
    warnings = find_warnings(options.runs, metrics, tested, clips)
    for option, file in (("--json", options.json), ("--picture", options.picture)):
        if file is not None:
            make_folder(Path(file).parent, f"{option} {file}")
    found = resample_runs(tested, clips, samples=options.samples, seed=options.seed)
    result = {
        "clips": found.clips,
        "unit": found.unit,
        "warnings": warnings,
        "runs": [
            describe_run(name, metrics[row], tested[row], found, row)
            for row, name in enumerate(options.runs)
        ],
        "differences": [
            {
                "run": options.runs[row],
                "other": options.runs[other],
                **{name: found.difference(name, row, other) for name in reversed(SCORES)},
            }
            for other, row in combinations(range(len(options.runs)), 2)
        ],
        "config": asdict(options),
        "versions": versions(),
    }
    print(comparison_table(result))
    for warning in warnings:
        logger.warning("warning: %s", warning)
    if options.json is not None:
        write_json(Path(options.json), result)
        logger.info("all differences: %s", options.json)
    if options.picture is not None:
        draw_comparison(result, Path(options.picture))
        logger.info("picture: %s", options.picture)
    return result


def describe_run(
    name: str, metrics: dict[str, Any], tested: TestedClips, found: Resampled, row: int
) -> dict[str, Any]:
    """One line of the table."""
    seeds = len({run["seed"] for run in metrics.get("runs", [{"seed": metrics.get("seed")}])})
    folds = len({run["fold"] for run in metrics.get("runs", [{"fold": metrics.get("fold")}])})
    return {
        "run": name,
        **{score: float(found.scores[score][row]) for score in reversed(SCORES)},
        "ci95": {score: found.interval(score, row) for score in SCORES},
        "std": metrics.get("std_over_seeds") or metrics.get("std"),
        "seeds": seeds,
        "folds": folds,
        "tested": len(tested.labels),
        "protocol": metrics.get("protocol_name") or metrics.get("protocol"),
        "parameters_trained": metrics.get("parameters_trained"),
        "seconds": metrics.get("seconds"),
        "test_fingerprint": digest_rows(tested.labels.items()),
    }


def shared_clips(names: Sequence[str], tested: Sequence[TestedClips]) -> list[str]:
    """The clips that all runs have tested, sorted.

    Raises:
        UsageError: There is none, or they have other labels in one run than in another.
    """
    clips = sorted(set(tested[0].labels).intersection(*(run.labels for run in tested[1:])))
    if not clips:
        first, other = next(
            (
                (0, row)
                for row, run in enumerate(tested)
                if not set(run.labels) & {*tested[0].labels}
            ),
            (0, 1),
        )
        raise UsageError(
            f"{names[first]} and {names[other]} have no test clip in common, or not with all the "
            f"others; their ids are {some_of(sorted(tested[first].labels), 2)} and "
            f"{some_of(sorted(tested[other].labels), 2)}. Compare runs on the same corpus and split"
        )
    for name, run in zip(names[1:], tested[1:], strict=True):
        differ = [clip for clip in clips if run.labels[clip] != tested[0].labels[clip]]
        if differ:
            clip = differ[0]
            raise UsageError(
                f"{len(differ):,} clips have other labels in {name} than in {names[0]}, as "
                f"{clip!r}: {run.labels[clip]!r} and {tested[0].labels[clip]!r}. Compare runs that "
                "learnt the same label column of the same corpus"
            )
    return clips


def find_warnings(
    names: Sequence[str],
    metrics: Sequence[dict[str, Any]],
    tested: Sequence[TestedClips],
    clips: Sequence[str],
) -> list[str]:
    """What makes the comparison less than fair, one sentence each."""
    warnings = []
    sizes = [len(run.labels) for run in tested]
    if any(size != len(clips) for size in sizes):
        told = ", ".join(f"{name} {size:,}" for name, size in zip(names, sizes, strict=True))
        warnings.append(
            f"the test parts differ (clips: {told}); scores are of the {len(clips):,} clips that "
            "all have tested, and not those in each run's metrics.json"
        )
    protocols = [run.get("protocol_name") or run.get("protocol") for run in metrics]
    if len(set(protocols)) > 1:
        told = ", ".join(f"{name} {how}" for name, how in zip(names, protocols, strict=True))
        warnings.append(f"the protocols differ ({told}), so they did not train on the same clips")
    elif len({training_parts(run) for run in metrics}) > 1:
        warnings.append(
            "the training or validation parts differ (split fingerprints); with drawn parts, "
            "--split-seed gives every run the same"
        )
    overlaps = [bool(run.get("speaker_overlap")) for run in metrics]
    if any(overlaps):
        told = ", ".join(name for name, shares in zip(names, overlaps, strict=True) if shares)
        warnings.append(f"speakers of the test part were also trained on: {told}")
    return warnings


def training_parts(metrics: dict[str, Any]) -> tuple[str, ...]:
    """Fingerprints of a run's splits, sorted."""
    runs = metrics.get("runs", [metrics])
    return tuple(sorted({str(run.get("split_fingerprint")) for run in runs}))


if __name__ == "__main__":
    leave(run_command(main))
