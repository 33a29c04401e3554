# SPDX-License-Identifier: Apache-2.0
"""How fast a trained model answers: many clips, one clip, and from the command line.

    python benchmarks/inference.py --out runs/inference.json

Many clips: `predict` against a loop over the audio-classification pipeline of transformers, on the
same encoder with random weights, clips in memory; what its own batches give, too. One clip: the
filterbank model after warm-up. Start: `voxadapt predict` in a new process, which imports, loads and
predicts; beside it what importing torch alone takes there. All are medians of one run, in which the
ways take turns. Give the machine to it: beside other work, rounds are off several times over, and
the seconds of CPU are then the better guide.
"""

import argparse
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from inference_models import SIZES, draw_clips
from inference_timing import median, percentile, time_one_clip, time_starts, time_throughput
from measured import met, table_head, table_line, write_results

from voxadapt.recipes.running.encoder_precision import has_bf16

RATIO_TARGET = 3.0
P50_TARGET, P99_TARGET = 0.030, 0.060  # seconds
START_TARGET, IMPORT_TARGET = 3.0, 0.3  # seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, and print the tables."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    setup = describe_setup(options)
    bf16 = has_bf16("cpu") and not options.no_bf16
    clips = draw_clips(options.clips, options.seconds)
    results: dict[str, Any] = {
        "setup": setup,
        "throughput": [
            time_throughput(size, clips, options.rounds, bf16=bf16) for size in options.sizes
        ],
        "one_clip": time_one_clip(3.0, options.repeats, threads=1) if options.repeats else {},
        "starts": time_starts(options.starts, options.threads) if options.starts else {},
    }
    write_results(options.out, results)
    print(tables(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES), help="encoders")
    parser.add_argument("--clips", type=int, default=400, help="clips of a round")
    parser.add_argument("--seconds", type=float, default=2.5, help="of audio in each")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median counts")
    parser.add_argument("--repeats", type=int, default=500, help="predictions of one clip")
    parser.add_argument("--starts", type=int, default=5, help="new processes of each kind")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch, but one clip: 1")
    parser.add_argument("--no-bf16", action="store_true", help="leave bf16 out")
    return parser.parse_args(arguments)


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "torch": importlib.metadata.version("torch"),
        "transformers": importlib.metadata.version("transformers"),
        "load_before": os.getloadavg()[0],
        **{name: getattr(options, name) for name in ("clips", "seconds", "threads", "rounds")},
    }


def tables(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    told = (
        f"{setup['clips']} clips of {setup['seconds']:g} s, {setup['threads']} threads, median of "
        f"{setup['rounds']}; torch {setup['torch']}, transformers {setup['transformers']}; load "
        f"before: {setup['load_before']:.1f}."
    )
    lines = [told, ""]
    if results["throughput"]:
        head = ["encoder", "way", "seconds", "of CPU", "clips a second", "to the loop", "target"]
        lines += table_head(head)
    for found in results["throughput"]:
        lines += throughput_lines(found, setup["clips"])
    if results["one_clip"]:
        head = ["one clip of 3 s, filterbank, 1 thread", "p50", "p99", "target"]
        lines += ["", *table_head(head), *one_clip_lines(results["one_clip"])]
    if results["starts"]:
        head = ["new process", "seconds, median", "of CPU", "target"]
        lines += ["", *table_head(head), *start_lines(results["starts"])]
    return "\n".join(lines)


def throughput_lines(found: dict[str, Any], clips: int) -> list[str]:
    """A line for each way through the clips of one encoder."""
    loop = median(found["seconds"]["pipeline, one by one"])
    lines = []
    for way, times in found["seconds"].items():
        taken = median(times)
        ratio = loop / taken
        judged = (
            f"{RATIO_TARGET:g} times: {met(ratio >= RATIO_TARGET)}"
            if way.startswith("predict")
            else ""
        )
        shown = [f"{taken:.2f}", f"{median(found['cpu'][way]):.2f}", f"{clips / taken:.1f}"]
        lines.append(table_line([f"HuBERT {found['size']}", way, *shown, f"{ratio:.2f}", judged]))
    return lines


def one_clip_lines(found: dict[str, list[float]]) -> list[str]:
    """A line for each place that the clip comes from."""
    lines = []
    for way, times in found.items():
        middle, slow = percentile(times, 0.5), percentile(times, 0.99)
        judged = f"30 and 60 ms: {met(middle < P50_TARGET and slow < P99_TARGET)}"
        shown = [f"{1000 * value:.1f} ms" for value in (middle, slow)]
        lines.append(table_line([way, *shown, judged]))
    return lines


def start_lines(found: dict[str, Any]) -> list[str]:
    """A line for each kind of new process."""
    start, torch_alone = found["voxadapt predict"], found["import torch"]
    first, imported = median(start["wall"]), median(found["import voxadapt"])
    return [
        table_line(
            [
                "`voxadapt predict`, first prediction",
                f"{first:.2f}",
                f"{median(start['cpu']):.2f}",
                f"{START_TARGET:g} s: {met(first < START_TARGET)}",
            ]
        ),
        table_line(
            [
                "`import torch` alone",
                f"{median(torch_alone['wall']):.2f}",
                f"{median(torch_alone['cpu']):.2f}",
                "",
            ]
        ),
        table_line(
            [
                "`import voxadapt`, the statement",
                f"{imported:.3f}",
                "",
                f"{IMPORT_TARGET:g} s: {met(imported < IMPORT_TARGET)}",
            ]
        ),
    ]


if __name__ == "__main__":
    main()
