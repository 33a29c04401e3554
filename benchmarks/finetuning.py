# SPDX-License-Identifier: Apache-2.0
"""Speed of fine-tuning from cached features, beside a padded loop on the same features and head.

    python benchmarks/finetuning.py CORPORA/urdu/urdu.csv --out runs/finetuning.json

The first table is of the command itself: `finetune` with statistical attentive pooling on a
pretrained adapter (left out, one is pretrained for one epoch on the same clips: its weights do not
change the time), features in the cache, from start to report. The second is of epochs, training and
validation, in turns with those of a padded loop in the manner of emotion2vec's downstream script
(`padded_loop.py`).
"""

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState
from measured import met, table_head, table_line, write_results
from padded_loop import PaddedLoop, PlainModel

from voxadapt.adapters import WAPTransformer
from voxadapt.recipes.corpora.batching import padded_budget
from voxadapt.recipes.finetune import prepare_runs
from voxadapt.recipes.finetuning.epoch_choice import FitState, keep_best
from voxadapt.recipes.finetuning.fit_classifier import plan_epoch, validate
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.linear_start import start_linear
from voxadapt.recipes.finetuning.model_building import build_model
from voxadapt.recipes.finetuning.optimizer import build_optimizer
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_once import SharedParts, label_frames
from voxadapt.recipes.finetuning.run_plan import draw_splits
from voxadapt.recipes.finetuning.step import train_step
from voxadapt.recipes.finetuning.weight_average import average_decay, make_average, update_average
from voxadapt.recipes.running.process_group import join_processes

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
SECONDS_TARGET = 60.0
EPOCHS = 30
RATIO_TARGET = 3.0
# What emotion2vec's script takes where nothing else is said.
BATCH_CLIPS = 128
# Of the command line, what results are kept with.
KEPT = ("epochs", "repeats", "threads", "precisions", "batch_clips", "options")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the command and its epochs, and print the tables."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"setup": describe_setup(options), "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        adapter = str(options.adapter.resolve()) if options.adapter else pretrain(options, base)
        for precision in options.precisions:
            results["runs"].append(time_command(options, adapter, precision, base))
        results["epochs"] = time_epochs(options, adapter, base)
    write_results(options.out, results)
    print(tables(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="manifest, such as URDU's")
    parser.add_argument(
        "--adapter", type=Path, help="pretraining run; left out, one is made on the spot"
    )
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the command")
    parser.add_argument("--repeats", type=int, default=5, help="epochs that are compared")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], help="of our runs")
    parser.add_argument("--batch-clips", nargs="+", type=int, default=[16, BATCH_CLIPS])
    parser.add_argument("--options", nargs="*", default=[], help="more options for both recipes")
    return parser.parse_args(arguments)


def pretrain(options: argparse.Namespace, base: Path) -> str:
    """Pretrain an adapter for one epoch."""
    out = str(base / "pretrain")
    run_recipe("pretrain_adapter", options, base, "--epochs=1", "--out", out)
    return out


def time_command(
    options: argparse.Namespace, adapter: str, precision: str, base: Path
) -> dict[str, Any]:
    """Time `finetune` from start to report; features are in the cache."""
    common = ["--adapter", adapter, "--pool=sap", "--allow-speaker-overlap"]
    common += ["--precision", precision]
    filled = base / f"filled-{precision}"
    run_recipe("finetune", options, base, *common, "--max-epochs=0", "--out", str(filled))
    out = base / f"timed-{precision}"
    start, cpu_start = time.perf_counter(), child_seconds()
    run_recipe("finetune", options, base, *common, f"--epochs={options.epochs}", "--out", str(out))
    return {
        "precision": precision,
        "epochs": options.epochs,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": child_seconds() - cpu_start,
    }


def child_seconds() -> float:
    """CPU seconds of the processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def run_recipe(name: str, options: argparse.Namespace, base: Path, *arguments: str) -> None:
    """Run a recipe in a process of its own, as a user does."""
    command = [sys.executable, str(RECIPES / f"{name}.py"), "--data", str(options.data.resolve())]
    command += ["--features", str(base / "features"), *arguments, *options.options]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    ran = subprocess.run(command, env=environment, cwd=base, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{name} failed:\n{ran.stderr}")


def time_epochs(
    options: argparse.Namespace, adapter: str, base: Path
) -> dict[str, dict[str, list[float]]]:
    """Seconds of epochs, and of the processor, ours in each precision and the padded loop's.

    They are run in turns. The processor's time is what can be compared where other work runs
    beside, with one thread: several wait for one another in it.
    """
    ways: dict[str, Callable[[], Any]] = {}
    for precision in options.precisions:
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps to its first precision
        GradientState._reset_state()
        recipe_options = FinetuneOptions(
            data=[str(options.data)],
            adapter=adapter,
            features=str(base / "features"),
            precision=precision,
            allow_speaker_overlap=True,
        )
        ours = OurLoop(recipe_options, base / f"epochs-{precision}")
        ways[f"voxadapt, {precision}"] = ours.epoch
    for count in options.batch_clips:
        ways[f"padded loop, {count} clips"] = padded_loop(ours, count).epoch
    found: dict[str, dict[str, list[float]]] = {
        way: {"seconds": [], "cpu_seconds": []} for way in ways
    }
    for number in range(options.repeats + 1):
        for way, run_epoch in ways.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run_epoch()
            if number:  # the first one warms up
                found[way]["seconds"].append(time.perf_counter() - start)
                found[way]["cpu_seconds"].append(time.process_time() - cpu_start)
    return found


class OurLoop:
    """Epochs as `finetune` runs them, one at a time.

    Args:
        options: The recipe's options.
        out: Folder of the run, which is not written to.
    """

    def __init__(self, options: FinetuneOptions, out: Path) -> None:
        self.options = options
        self.accelerator = join_processes(options.precision)
        shared: SharedParts = prepare_runs(options, self.accelerator, out, claim=False)
        splits = draw_splits(shared.corpus.clips, options, options.seed, None)
        self.data: LabelledFrames = label_frames(shared.corpus, splits, shared.frozen, options)
        self.model = build_model(
            shared.adapter,
            options,
            shared.backbone,
            shared.corpus.store,
            splits.train,
            self.data.outputs.size,
            options.seed,
            self.accelerator.device,
        )
        start_linear(self.model, self.data, options, options.seed)
        optimizer = build_optimizer(self.model, options)
        self.averaged = make_average(self.model)
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.state = FitState()

    def epoch(self) -> float:
        """Train on every clip once, validate, and choose; returns the validation UA."""
        options, state = self.options, self.state
        budget = padded_budget(options.batch_seconds, self.data.frame_rate)
        self.wrapped.train()
        for rows in plan_epoch(self.data, options, options.seed, state.epoch, budget):
            train_step(
                self.wrapped,
                self.optimizer,
                rows,
                self.data,
                options,
                options.seed,
                state,
                0.5,
                self.accelerator,
            )
            state.step += 1
            decay = average_decay(state.step, options.optimizer.averaging)
            update_average(self.averaged, self.model, decay)
        valid = self.data.splits.valid
        entry = validate(self.averaged, self.data, valid, self.accelerator, budget)
        keep_best(state, entry, self.averaged.trained_state())
        state.epoch += 1
        return entry["valid_ua"]


def padded_loop(ours: OurLoop, batch_clips: int) -> PaddedLoop:
    """The padded loop over the same clips, with a model of the same sizes."""
    data, adapter = ours.data, ours.model.adapter
    if not isinstance(adapter, WAPTransformer):
        raise ValueError(f"adapter: found {type(adapter).__name__}, must be a WAPTransformer")
    mean, std = (tensor.numpy() for tensor in (adapter.standardize.mean, adapter.standardize.std))
    clips = [
        (np.asarray(data.store.frames(index), dtype=np.float32) - mean) / std
        for index in range(len(data.clips))
    ]
    model = PlainModel(adapter.config, data.outputs.size, ours.options.head.dropout)
    parts = data.splits
    return PaddedLoop(
        model, clips, data.targets[:, 0], parts.train, parts.valid, batch_clips=batch_clips
    )


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "torch": importlib.metadata.version("torch"),
        # Of the minute before: beside other work, single rounds are off several times over.
        "load_before": os.getloadavg()[0],
        "data": options.data.name,
        "adapter": "given" if options.adapter else "made on the spot",
        **{name: getattr(options, name) for name in KEPT},
    }


def tables(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    lines = [
        f"{setup['threads']} threads; torch {setup['torch']}; load before: "
        f"{setup['load_before']:.1f}.",
        "",
        *table_head(
            ["`finetune`, precision", "epochs", f"seconds (< {SECONDS_TARGET:g})", "of CPU"]
        ),
    ]
    for run in results["runs"]:
        # Fewer epochs than the target is of are no test of it.
        reached = met(run["seconds"] < SECONDS_TARGET) if run["epochs"] >= EPOCHS else "not judged"
        cells = [run["precision"], str(run["epochs"]), f"{run['seconds']:.1f} ({reached})"]
        lines.append(table_line([*cells, f"{run['cpu_seconds']:.1f}"]))
    medians = {
        way: {name: statistics.median(values) for name, values in times.items()}
        for way, times in results["epochs"].items()
    }
    peer = f"padded loop, {max(setup['batch_clips'])} clips"
    heads = ["an epoch", "seconds", f"times as fast (≥ {RATIO_TARGET:g})", "of CPU", "by CPU"]
    lines += ["", *table_head(heads)]
    for way, times in medians.items():
        ratios = {name: medians[peer][name] / value for name, value in times.items()}
        shown = f"{ratios['seconds']:.2f}"
        if way.startswith("voxadapt"):
            shown += f" ({met(ratios['seconds'] >= RATIO_TARGET)})"
        cells = [way, f"{times['seconds']:.2f}", shown, f"{times['cpu_seconds']:.2f}"]
        lines.append(table_line([*cells, f"{ratios['cpu_seconds']:.2f}"]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
