# SPDX-License-Identifier: Apache-2.0
"""URDU with the filterbank backbone: adapters and poolers, five seeds each, as a table.

    python benchmarks/urdu.py CORPORA --out runs/urdu

CORPORA is a folder with ``urdu/urdu.csv``, ``fsdd/fsdd.csv`` and ``baved/baved.csv`` (columns path,
label, speaker; URDU with EmoBox's fold 1 as ``split``). Runs the commands that it prints and goes
on where it was interrupted.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LINES = (
    # title, adapter, pooler; "{pretrained}" is the pretraining run's folder
    ("pretrained adapter, SAP", "{pretrained}", "sap"),
    ("random adapter, SAP", "random", "sap"),
    ("no adapter, SAP", "none", "sap"),
    ("pretrained adapter, mean", "{pretrained}", "mean"),
    ("pretrained adapter, attentive", "{pretrained}", "attentive"),
    ("pretrained adapter, QKV", "{pretrained}", "qkv"),
)
RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def main() -> None:
    """Run every line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpora", type=Path, help="folder with urdu/, fsdd/ and baved/")
    parser.add_argument("--out", type=Path, default=Path("runs/urdu"), help="folder for all runs")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each line")
    parser.add_argument("--jobs", type=int, default=2, help="lines that run side by side")
    parser.add_argument("--threads", type=int, default=1, help="threads of each line")
    parser.add_argument("--precision", default="fp32", help="fp32 or bf16, for every run")
    options = parser.parse_args()

    manifests = [options.corpora / name / f"{name}.csv" for name in ("urdu", "fsdd", "baved")]
    features = options.out / "features"
    pretrained = options.out / "pretrain"
    command = ["pretrain_adapter.py", "--data", *map(str, manifests)]
    command += ["--features", str(features), "--out", str(pretrained)]
    command += ["--precision", options.precision]
    run(command, pretrained, options.threads * options.jobs)

    def run_line(number: int) -> str:
        title, adapter, pool = LINES[number]
        out = options.out / f"line-{number}"
        command = ["finetune.py", "--data", str(manifests[0]), "--allow-speaker-overlap"]
        command += ["--adapter", adapter.format(pretrained=pretrained), "--pool", pool]
        command += ["--seeds", str(options.seeds), "--features", str(features), "--out", str(out)]
        command += ["--precision", options.precision]
        run(command, out, options.threads)
        return row(title, json.loads((out / "metrics.json").read_text(encoding="utf-8")))

    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(run_line, range(len(LINES))))
    print("\n| line | UA | WA | macro-F1 | parameters trained | seconds a run |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))


def run(command: list[str], out: Path, threads: int) -> None:
    """Run a recipe unless it has finished; go on with it where it had begun."""
    finished = (out / "metrics.json").exists() or (out / "adapter" / "config.json").exists()
    print("python recipes/" + shlex.join(command), flush=True)
    if finished:
        return
    if (out / "run.json").exists():
        command = [*command, "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    recipe = [sys.executable, str(RECIPES / command[0]), *command[1:]]
    subprocess.run(recipe, check=True, env=environment)


def row(title: str, metrics: dict) -> str:
    """One line of the table, in percent."""
    spread = metrics.get("std", {})
    cells = [
        f"{100 * metrics[name]:.2f} ± {100 * spread.get(name, 0.0):.2f}"
        for name in ("ua", "wa", "macro_f1")
    ]
    runs = len(metrics.get("runs", [1]))
    seconds = f"{metrics['seconds'] / runs:.0f}"
    return f"| {title} | {' | '.join(cells)} | {metrics['parameters_trained']:,} | {seconds} |"


if __name__ == "__main__":
    main()
