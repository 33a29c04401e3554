# SPDX-License-Identifier: Apache-2.0
"""Every pooler with and without a pretrained adapter, on five tasks of real speech, as tables.

    python benchmarks/poolers.py CORPORA --precision bf16 --out runs/poolers

CORPORA is a folder with ``urdu/urdu.csv``, ``fsdd/fsdd.csv`` and ``baved/baved.csv`` (columns path,
label, speaker; URDU with EmoBox's fold 1 and FSDD with its recordings 0 to 4 as ``split``). Runs
the commands that it prints, and goes on where it was stopped. ``docs/poolers.md`` has the results.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from measured import table_head, table_line, write_results

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
CORPORA = ("urdu", "fsdd", "baved")
SPEAKER_FOLDS = ("--protocol", "speaker-disjoint-kfold", "--split-seed", "0")
METRICS = ("ua", "wa", "macro_f1")
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class Task:
    """What is learnt on which clips.

    Attributes:
        name: For files and people.
        corpus: Its folder's name.
        options: Of `finetune`: the label, the protocol, the epochs.
        folds: Whether seed s tests fold s + 1, so that five seeds test each clip once.
    """

    name: str
    corpus: str
    options: tuple[str, ...]
    folds: bool = False


SPEAKERS_SHARED = ("--allow-speaker-overlap", "--validation", "label")
TASKS = (
    Task("urdu-official", "urdu", SPEAKERS_SHARED),
    Task("urdu-speakers", "urdu", SPEAKER_FOLDS, folds=True),
    Task("baved-speakers", "baved", (*SPEAKER_FOLDS, "--epochs", "12"), folds=True),
    Task("fsdd-digits", "fsdd", (*SPEAKERS_SHARED, "--epochs", "12")),
    Task("fsdd-speakers", "fsdd", ("--label", "speaker", *SPEAKERS_SHARED, "--epochs", "12")),
)
LINES = (
    *((PRETRAINED, pool) for pool in ("sap", "mean", "attentive", "qkv")),
    *(("none", pool) for pool in ("sap", "mean", "attentive", "qkv")),
    ("random", "sap"),
)
"""Adapter and pooler of each line of a table."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every line of every task and print the tables."""
    options = parse(arguments)
    pretrained = options.out / "pretrain"
    pretrain = pretraining_command(options, pretrained)
    lines = [
        (task, adapter, pool)
        for task in TASKS
        if task.name in options.tasks
        for adapter, pool in LINES
    ]
    runs = [
        (finetuning_command(options, *line, seed, pretrained), folder(options.out, *line, seed))
        for line in lines
        for seed in range(options.seeds)
    ]
    if options.dry_run:
        for command in [pretrain, *(command for command, _ in runs)]:
            print(shlex.join(["python", f"recipes/{command[0]}", *command[1:]]))
        return
    if not options.show:
        run(pretrain, pretrained, options.threads * options.jobs)
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda one: run(*one, options.threads), runs))
    results = {line: read_line(options.out, *line, options.seeds) for line in lines}
    write_results(
        options.out / "results.json",
        {f"{task.name}/{adapter}/{pool}": runs for (task, adapter, pool), runs in results.items()},
    )
    for task in dict.fromkeys(task for task, _, _ in lines):
        rows = {line[1:]: runs for line, runs in results.items() if line[0] is task and runs}
        print(f"\n**{task.name}**: `--data {data(task)} {shlex.join(task.options)}`\n")
        print("\n".join(table(rows)))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    names = [task.name for task in TASKS]
    add("corpora", type=Path, help="folder with urdu/, fsdd/ and baved/")
    add("--out", type=Path, default=Path("runs/poolers"), help="folder for all runs")
    add("--features", type=Path, help="feature cache; OUT/features where left out")
    add("--tasks", nargs="+", choices=names, default=names, metavar="TASK", help=", ".join(names))
    add("--seeds", type=int, default=5, help="runs of each line, 1 to 5")
    add("--jobs", type=int, default=2, help="runs side by side")
    add("--threads", type=int, default=1, help="threads of each run")
    add("--precision", default="fp32", help="fp32 or bf16, for every run")
    add("--finetune", default="", metavar="OPTIONS", help="more options of finetune, in quotes")
    add("--pretrain", default="", metavar="OPTIONS", help="more of pretrain_adapter")
    add("--dry-run", action="store_true", help="print the commands only")
    add("--show", action="store_true", help="run nothing: print the lines that have finished")
    options = parser.parse_args(arguments)
    if not 1 <= options.seeds <= 5:
        parser.error("--seeds: give 1 to 5; seed s tests fold s + 1 of 5")
    options.features = options.features or options.out / "features"
    return options


def data(task: Task) -> str:
    """The task's manifest under the folder of corpora."""
    return f"{task.corpus}/{task.corpus}.csv"


def folder(out: Path, task: Task, adapter: str, pool: str, seed: int) -> Path:
    """A run's folder."""
    return out / task.name / f"{adapter}-{pool}" / f"seed-{seed}"


def pretraining_command(options: argparse.Namespace, out: Path) -> list[str]:
    """Pretraining on the audio of all corpora."""
    manifests = [str(options.corpora / corpus / f"{corpus}.csv") for corpus in CORPORA]
    command = ["pretrain_adapter.py", "--data", *manifests, "--precision", options.precision]
    command += ["--features", str(options.features), "--out", str(out)]
    return [*command, *shlex.split(options.pretrain)]


def finetuning_command(
    options: argparse.Namespace, task: Task, adapter: str, pool: str, seed: int, pretrained: Path
) -> list[str]:
    """One run of a line."""
    command = ["finetune.py", "--data", str(options.corpora / data(task)), *task.options]
    command += ["--adapter", str(pretrained) if adapter == PRETRAINED else adapter, "--pool", pool]
    command += ["--seed", str(seed)]
    if task.folds:
        command += ["--fold", str(seed + 1)]
    command += ["--precision", options.precision, "--features", str(options.features)]
    command += ["--report-clips", "0", "--no-report-map"]
    command += ["--out", str(folder(options.out, task, adapter, pool, seed))]
    return [*command, *shlex.split(options.finetune)]


def run(command: list[str], out: Path, threads: int) -> None:
    """Run a recipe unless it has finished; go on with it where it had begun.

    Raises:
        subprocess.CalledProcessError: The recipe failed; what it said stands above.
    """
    print(shlex.join(["python", f"recipes/{command[0]}", *command[1:]]), flush=True)
    if (out / "metrics.json").exists() or (out / "adapter" / "config.json").exists():
        return
    if (out / "run.json").exists():
        command = [*command, "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    recipe = [sys.executable, str(RECIPES / command[0]), *command[1:]]
    subprocess.run(recipe, check=True, env=environment)


def read_line(out: Path, task: Task, adapter: str, pool: str, seeds: int) -> list[dict[str, Any]]:
    """What the runs of a line wrote; nothing while one of them has not finished."""
    folders = [folder(out, task, adapter, pool, seed) for seed in range(seeds)]
    if not all((run / "metrics.json").exists() for run in folders):
        return []
    return [read_metrics(run) for run in folders]


def read_metrics(out: Path) -> dict[str, Any]:
    """What a run wrote of its scores and its cost."""
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    wanted = (*METRICS, "parameters_trained", "seconds", "epochs_run")
    return {name: metrics[name] for name in wanted if name in metrics}


def table(rows: dict[tuple[str, str], list[dict[str, Any]]]) -> list[str]:
    """A task's table in Markdown, scores in percent over its runs."""
    text = table_head(["adapter", "pooler", "UA", "WA", "macro-F1", "trained", "seconds a run"])
    for (adapter, pool), runs in rows.items():
        scores = [spread([run[name] for run in runs]) for name in METRICS]
        cost = f"{runs[0]['parameters_trained']:,}", f"{mean(run['seconds'] for run in runs):.0f}"
        text.append(table_line([adapter, pool, *scores, *cost]))
    return text


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation, in percent."""
    percent = [100 * value for value in values]
    return f"{mean(percent):.1f} ± {stdev(percent) if len(percent) > 1 else 0.0:.1f}"


if __name__ == "__main__":
    main()
