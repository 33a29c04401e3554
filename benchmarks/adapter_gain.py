# SPDX-License-Identifier: Apache-2.0
"""What pretraining an adapter is worth: paired over seeds, on audio it heard and did not hear.

    python benchmarks/adapter_gain.py CORPORA --precision bf16 --out adapter_gain.json

CORPORA is a folder with ``urdu/urdu.csv``, ``fsdd/fsdd.csv`` and ``baved/baved.csv`` (columns
path, label, speaker; URDU with EmoBox's fold 1 as ``split``). A run that has finished is read, not
run again: the same command goes on where it was stopped. ``docs/adapter_gain.md`` says what is
compared.

Look first: ``--dry-run`` lists the runs and how long they will take, ``--show`` prints the tables
of what has finished. Try options of the recipes on a part of the table, and choose by validation:

    python benchmarks/adapter_gain.py CORPORA --only urdu-folds 10% full heard --rotate \
        --finetune="--optimizer.adapter_factor 0.2" --pretrain="--masking.span_length 12"
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapter_gain_cells import (
    CORPORA,
    DEFAULT_PROTOCOLS,
    PROTOCOLS,
    SHARES,
    Cell,
    Pretraining,
    choose_cells,
    list_cells,
)
from adapter_gain_plan import Plan, estimate_seconds, read_result
from adapter_gain_pool import RunError, run_tasks
from adapter_gain_tables import make_rows, tables
from adapter_gain_worker import Task
from tqdm import tqdm

from voxadapt.recipes.running.command_line import USER_ERRORS
from voxadapt.recipes.running.run_folder import versions, write_json

SETUP = [
    *("protocols", "shares", "ablation_shares", "seeds", "pretrain_seeds", "rotate", "only"),
    *("epochs", "pretrain_epochs", "finetune", "pretrain", "precision", "jobs", "threads"),
]
"""Options that the JSON file repeats."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and print the tables."""
    options = parse(arguments)
    try:
        cells = choose_cells(
            list_cells(
                options.protocols,
                seeds=options.seeds,
                shares=options.shares,
                ablation_shares=options.ablation_shares,
                rotate=options.rotate,
                pretrain_seeds=options.pretrain_seeds,
            ),
            options.only,
        )
        plan = Plan(options)
        pretrainings = {
            cell.pretraining: plan.pretraining_task(cell.pretraining)
            for cell in cells
            if cell.pretraining is not None
        }
        tasks = {cell: plan.cell_task(cell) for cell in cells}
    except (ValueError, *USER_ERRORS) as error:
        sys.exit(f"error: {error}")
    if options.dry_run:
        list_runs(pretrainings, tasks, options.jobs)
        return
    if not options.show:
        try:
            run_missing(plan, pretrainings, tasks)
        except RunError as error:
            sys.exit(f"error: {error}")
    report(options, pretrainings, tasks)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("corpora", type=Path, help="folder with urdu/, fsdd/ and baved/")
    add("--runs", type=Path, default=Path("runs/adapter_gain"), help="folder for all runs")
    add("--out", type=Path, help="JSON file for rows and runs; RUNS/results.json where left out")
    add("--protocols", nargs="+", choices=PROTOCOLS, default=list(DEFAULT_PROTOCOLS))
    add("--shares", nargs="+", type=int, default=list(SHARES), help="percents of the labels")
    add("--ablation-shares", nargs="*", type=int, default=[10], help="those with ablations")
    add("--seeds", type=int, default=5, help="seeds of each row")
    add("--pretrain-seeds", type=int, default=1, help="pretraining runs of a kind, taken in turn")
    add("--rotate", action="store_true", help="seed s tests fold s only: a quicker look")
    add("--only", nargs="+", default=[], metavar="WORD", help="e.g. urdu-folds 10%% heard,unheard")
    add("--epochs", type=int, help="of fine-tuning")
    add("--pretrain-epochs", type=int, help="of pretraining")
    add("--finetune", default="", metavar="OPTIONS", help="more options of finetune, in quotes")
    add("--pretrain", default="", metavar="OPTIONS", help="more of pretrain_adapter")
    add("--precision", default="fp32", help="fp32 or bf16, for every run")
    add("--jobs", type=int, default=2, help="runs side by side; 0: one by one, in this process")
    add("--threads", type=int, help="threads of each run; the cores divided by --jobs")
    add("--keep-models", action="store_true", help="keep models and checkpoints, 40 MB a run")
    add("--dry-run", action="store_true", help="list the runs and how long they will take")
    add("--show", action="store_true", help="print the tables of what has finished")
    options = parser.parse_args(arguments)
    for name in ("shares", "ablation_shares"):
        if not all(0 < share <= 100 for share in getattr(options, name)):
            parser.error(f"--{name.replace('_', '-')}: give percents from 1 to 100")
    for name in ("seeds", "pretrain_seeds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: give at least 1")
    if options.threads is None:
        options.threads = max(1, (os.cpu_count() or 1) // max(1, options.jobs))
    return options


def run_missing(plan: Plan, pretrainings: dict[Pretraining, Task], tasks: dict[Cell, Task]) -> None:
    """Run all that has no result yet: first what is pretrained, then what is fine-tuned on it."""
    options = plan.options
    everything = [*pretrainings.values(), *tasks.values()]
    missing = {task["name"]: task for task in everything if read_result(task) is None}
    results = [result for task in everything if (result := read_result(task)) is not None]
    if not missing:
        return
    fill_features(plan)
    plan.write_manifests(tasks)
    with tqdm(
        total=len(everything), initial=len(results), desc="runs", unit="run", file=sys.stderr,
        bar_format="{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}",
    ) as bar:  # fmt: skip

        def say_time_left() -> None:
            left = estimate_seconds(missing.values(), results) / max(1, options.jobs)
            bar.set_postfix_str(f"about {clock(left)} left")

        def on_result(task: Task, result: dict[str, Any]) -> None:
            results.append(result)
            del missing[task["name"]]
            bar.update()
            say_time_left()
            if result["status"] == "collapsed":
                bar.write(f"{task['name']}: {result['message']}", file=sys.stderr)

        say_time_left()
        waiting = [task for task in pretrainings.values() if task["name"] in missing]
        run_tasks(waiting, options.jobs, options.threads, on_result)
        skipped = collapsed_cells(pretrainings, tasks)
        waiting = [
            task for cell, task in tasks.items() if task["name"] in missing and cell not in skipped
        ]
        run_tasks(waiting, options.jobs, options.threads, on_result)


def fill_features(plan: Plan) -> None:
    """Compute the frames of all corpora once, before runs side by side look for them."""
    from voxadapt.backbones import load_backbone
    from voxadapt.recipes.corpora.feature_cache import extract_features

    config = plan.finetune_config
    if config.backbone != "fbank":
        return  # the first run computes them; the filterbank is what this benchmark is about
    clips = [clip for corpus in CORPORA for clip in plan.clips(corpus)]
    extract_features(clips, load_backbone("fbank"), plan.features)


def collapsed_cells(
    pretrainings: dict[Pretraining, Task], tasks: dict[Cell, Task]
) -> dict[Cell, str]:
    """Cells whose adapter there is not, because its pretraining collapsed; with the message."""
    messages = {}
    for pretraining, task in pretrainings.items():
        result = read_result(task)
        if result is not None and result["status"] == "collapsed":
            messages[pretraining] = result["message"]
    return {cell: messages[cell.pretraining] for cell in tasks if cell.pretraining in messages}


def list_runs(pretrainings: dict[Pretraining, Task], tasks: dict[Cell, Task], jobs: int) -> None:
    """Print every run, whether it has finished, and how long the others will take."""
    everything = [*pretrainings.values(), *tasks.values()]
    results = {task["name"]: read_result(task) for task in everything}
    finished = [result for result in results.values() if result is not None]
    for task in everything:
        result = results[task["name"]]
        state = "" if result is None else f"{result['status']}, {result['seconds']:.0f} s"
        print(f"{task['name']:60} {state}".rstrip())
    missing = [task for task in everything if results[task["name"]] is None]
    left = estimate_seconds(missing, finished)
    measured = {result["kind"] for result in finished if not result["resumed"]}
    guessed = sorted({task["about"]["kind"] for task in missing} - measured)
    print(
        f"\n{len(pretrainings)} runs of pretrain_adapter and {len(tasks)} of finetune, "
        f"{len(finished)} of them finished; about {clock(left / max(1, jobs))} left with --jobs "
        f"{jobs}" + (f" (a guess for: {', '.join(guessed)}; none has run yet)" if guessed else "")
    )


def report(
    options: argparse.Namespace, pretrainings: dict[Pretraining, Task], tasks: dict[Cell, Task]
) -> None:
    """Print the tables and write the JSON file."""
    found = {cell: read_result(task) for cell, task in tasks.items()}
    results = {cell: result for cell, result in found.items() if result is not None}
    rows = make_rows(results, collapsed_cells(pretrainings, tasks))
    pretrained = [result for task in pretrainings.values() if (result := read_result(task))]
    content = {
        "setup": {
            **{name: getattr(options, name) for name in SETUP},
            "versions": versions(),
            "missing": [task["name"] for cell, task in tasks.items() if cell not in results],
        },
        "rows": rows,
        "pretraining": pretrained,
        "runs": list(results.values()),
    }
    write_json(options.out or options.runs / "results.json", content)
    print(tables(rows))
    if len(results) < len(tasks):
        print(f"\n{len(tasks) - len(results)} of {len(tasks)} runs of finetune have no result.")


def clock(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


if __name__ == "__main__":
    main()
