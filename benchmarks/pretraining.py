# SPDX-License-Identifier: Apache-2.0
"""Speed of pretraining: the time of a step against that of its own matrix products.

    python benchmarks/pretraining.py --threads 2 --out runs/pretraining.json

A step is `pretrain_adapter`'s own: it reads clips from a feature cache (made on the spot, of random
frames, in a temporary folder), runs the teacher, runs the student forward and backward, clips the
gradient, updates the weights and the teacher, and at every tenth step looks for collapse. Its floor
is the time that its matrix products alone would take at the rate of a large square product,
measured in turns with the steps. The targets are judged against the rate of `torch.matmul`.
"""

import argparse
import importlib.metadata
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measured import met, processor_name, table_head, table_line, write_results
from pretraining_run import FEATURES, make_corpus, make_run, step_flops
from tqdm import tqdm

from voxadapt.adapters.dense import linear
from voxadapt.recipes.corpora.batching import plan_mixed_batches
from voxadapt.recipes.pretraining import step as pretraining_step
from voxadapt.recipes.pretraining.state import PretrainingRun

SHARE_TARGET = 0.60
WAITING_TARGET = 0.05
# Of the run; the schedules stand still, since the time of a step does not depend on them. So early,
# nothing is stopped for collapse: random frames would be.
RUN_SHARE = 0.01


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every width that was asked for and print the tables."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"setup": describe_setup(options), "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        features = FEATURES[options.frames]
        sizes = (options.batches, options.batch_seconds)
        store = make_corpus(Path(folder), *sizes, options.seed, features)
        for width in options.widths:
            results["rows"].append(measure(make_run(store, Path(folder), width, options), options))
    write_results(options.out, results)
    print(table(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--widths", nargs="+", type=int, default=[192, 768], help="of the adapter")
    parser.add_argument("--frames", choices=FEATURES, default="hubert", help="like whose")
    parser.add_argument("--compile", action="store_true", help="adapters through torch.compile")
    parser.add_argument("--batch-seconds", type=float, default=60.0, help="audio a step sees")
    parser.add_argument("--batches", type=int, default=10, help="different batches; steps a round")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are compared")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--seed", type=int, default=0, help="of frames, lengths and weights")
    parser.add_argument("--matrix-size", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(run: PretrainingRun, options: argparse.Namespace) -> dict[str, Any]:
    """Time steps and matrix products in turns.

    Args:
        run: A run over made-up frames.
        options: The command line.

    Returns:
        One row of the table.
    """
    # Every round is an epoch of its own: as in a run, hardly a batch has a shape seen before.
    lengths, seed = run.corpus.store.lengths, options.seed
    epochs = [
        plan_mixed_batches(lengths, run.budget, seed=seed, epoch=epoch)
        for epoch in range(options.repeats + 1)
    ]
    flops = statistics.mean(step_flops(run, batch) for batches in epochs for batch in batches)
    width = run.options.adapter.width
    products = matrix_products(run.accelerator.device, options.precision, options.matrix_size)
    rounds: list[Round] = []
    rates: dict[str, list[float]] = {way: [] for way in products.ways}
    for number, batches in enumerate(tqdm(epochs, desc=f"width {width}", unit="round")):
        found = {way: products.flops / seconds(multiply) for way, multiply in products.ways.items()}
        timed = time_steps(run, batches)
        if number:  # the first one warms up
            rounds.append(timed)
            for way, rate in found.items():
                rates[way].append(rate)
    medians = {way: statistics.median(values) for way, values in rates.items()}
    best = max(medians, key=lambda way: medians[way])
    step = statistics.median(timed.step for timed in rounds)
    waiting = statistics.median(timed.waiting / timed.step for timed in rounds)
    share = flops / medians["torch.matmul"] / step
    frames = int(lengths.sum()) / len(epochs[0])
    return {
        "width": width,
        "parameters": sum(p.numel() for p in run.pretrainer.student.adapter.parameters()),
        "frames_per_step": frames,
        "step_seconds": step,
        "frames_per_second": frames / step,
        "step_flops": flops,
        "matrix_rates": medians,
        "best_matrix_way": best,
        "share_of_torch_matmul": share,
        "share_of_best": flops / medians[best] / step,
        "share_met": share >= SHARE_TARGET,
        "waiting": waiting,
        "waiting_met": waiting < WAITING_TARGET,
        "rounds": [{"step": timed.step, "waiting": timed.waiting} for timed in rounds],
        "rate_rounds": rates,
    }


@dataclass(frozen=True)
class Round:
    """Seconds of a step, and those of them spent waiting for data, means over a round."""

    step: float
    waiting: float


def time_steps(run: PretrainingRun, batches: Sequence[list[int]]) -> Round:
    """Train once on every batch."""
    load, waiting = pretraining_step.load_shares, 0.0

    def timed_load(*arguments: Any, **options: Any) -> Any:
        nonlocal waiting
        start = time.perf_counter()
        try:
            return load(*arguments, **options)
        finally:
            waiting += time.perf_counter() - start

    with mock.patch.object(pretraining_step, "load_shares", timed_load):
        synchronize()
        start = time.perf_counter()
        for batch in batches:
            pretraining_step.train_step(run, batch, RUN_SHARE)
            run.progress.step += 1
        synchronize()
        elapsed = time.perf_counter() - start
    return Round(elapsed / len(batches), waiting / len(batches))


@dataclass(frozen=True)
class MatrixProducts:
    """Ways to one square matrix product, and the floating-point operations that it is."""

    ways: dict[str, Callable[[], Any]]
    flops: float


def matrix_products(device: torch.device, precision: str, size: int | None) -> MatrixProducts:
    """Square products: torch's own, and the linear layer that the adapter uses.

    Args:
        device: Where to multiply.
        precision: ``fp32`` or ``bf16``.
        size: Rows and columns; None is 2048, or 8192 on a GPU.
    """
    size = size or (8192 if device.type == "cuda" else 2048)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    ways: dict[str, Callable[[], Any]] = {"torch.matmul": lambda: torch.matmul(one, other)}
    ways["adapters.dense"] = lambda: linear(one, other)
    return MatrixProducts(ways, 2.0 * size**3)


def seconds(multiply: Callable[[], Any]) -> float:
    """Median time of five products, after one to warm up."""
    times = []
    for _ in range(6):
        synchronize()
        start = time.perf_counter()
        multiply()
        synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def synchronize() -> None:
    """Wait for the GPU where there is one in use."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "torch": importlib.metadata.version("torch"),
        "processor": processor_name(options.device),
        # Of the minute before: beside other work, single rounds are off several times over.
        "load_before": os.getloadavg()[0],
        **{name: value for name, value in vars(options).items() if name != "out"},
    }


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    heads = [
        "width (parameters)",
        "step",
        "frames per second",
        "GFLOP a step",
        "GFLOP/s of matrix products",
        f"floor by torch.matmul, share of the step (≥ {SHARE_TARGET:.2f})",
        "by the fastest",
        f"waiting for data (< {WAITING_TARGET:.0%})",
    ]
    lines = [
        f"{setup['processor']}, {setup['device']}, {setup['threads']} threads, "
        f"{setup['precision']}{', compiled' if setup['compile'] else ''}; torch {setup['torch']}; "
        f"frames like {setup['frames']}'s, of {FEATURES[setup['frames']]} features, "
        f"{setup['batch_seconds']:g} s a step; medians of {setup['repeats']}; load before: "
        f"{setup['load_before']:.1f}.",
        "",
        *table_head(heads),
    ]
    for row in results["rows"]:
        rates = ", ".join(f"{way} {rate / 1e9:.0f}" for way, rate in row["matrix_rates"].items())
        cells = [
            f"{row['width']} ({row['parameters'] / 1e6:.1f} M)",
            f"{1000 * row['step_seconds']:.0f} ms",
            f"{row['frames_per_second']:,.0f}",
            f"{row['step_flops'] / 1e9:.1f}",
            rates,
            f"{row['share_of_torch_matmul']:.2f} ({met(row['share_met'])})",
            f"{row['share_of_best']:.2f} ({row['best_matrix_way']})",
            f"{row['waiting']:.1%} ({met(row['waiting_met'])})",
        ]
        lines.append(table_line(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
