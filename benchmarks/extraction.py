# SPDX-License-Identifier: Apache-2.0
"""Speed of extraction: frozen encoders here and in other toolkits, side by side, as tables.

    python benchmarks/extraction.py CORPORA --out runs/extraction.json

CORPORA is a folder with ``urdu/urdu.csv``. Encoders have their full size and random weights, since
speed does not depend on weights. Clips are decoded ahead; a pass goes from clips in memory to the
last hidden states of the layer. Passes of all methods take turns over the same clips, and medians
of several rounds are compared. Peers compute in float32, as their users do, except where
``--peers-bf16`` adds them under autocast; install them with ``pip install -e '.[peers]'``.
"""

import argparse
import importlib.metadata
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from extraction_accuracy import measure_accuracy, measure_scores
from extraction_measuring import draw, measure_group, say
from extraction_models import MODELS, make_model
from extraction_peers import INSTALL, PEERS, SAMPLE_RATE, is_installed
from extraction_rows import ROWS
from extraction_tables import tables
from measured import processor_name, write_results
from torch import Tensor

from voxadapt.backbones import read_audio
from voxadapt.recipes.corpora.manifest import read_manifest

CUT_SECONDS = (0.6, 15.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows that were asked for and print the tables."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clips = read_clips(options.corpora, options.clips, options.seed)
    skipped = [peer for peer in PEERS if not is_installed(peer)]
    for peer in skipped:
        say(f"{peer} is skipped: it is not installed ({INSTALL})")
    results: dict[str, Any] = {"setup": describe_setup(options), "skipped": skipped}
    results |= {"rows": [], "accuracy": [], "scores": []}
    for model_name in MODELS:
        names = [name for name in options.rows if model_name in ROWS[name].models]
        if not names:
            continue
        model = make_model(model_name, options.tiny, options.seed)
        for cut in (False, True):
            group = [name for name in names if ROWS[name].cut == cut]
            if group and options.repeats:
                heard = cut_clips(clips, options.seed) if cut else clips
                results["rows"] += measure_group(model_name, model, group, heard, device, options)
        if options.accuracy:
            say(f"{model_name}: accuracy")
            results["accuracy"] += measure_accuracy(model_name, model, names, clips, device)
            labelled = read_manifest(options.corpora / "urdu" / "urdu.csv").clips
            results["scores"] += measure_scores(model_name, model, names, labelled, device)
        results["rows"].sort(key=lambda row: list(ROWS).index(row["row"]))
        # After each model: a long run that is stopped keeps what it has measured.
        write_results(options.out, results)
    print(tables(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpora", type=Path, help="folder with urdu/urdu.csv")
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which rows")
    parser.add_argument("--clips", type=int, help="draw so many clips of the corpus")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; 0 measures no speed")
    parser.add_argument("--threads", type=int, default=2, help="threads of every method")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for every method")
    parser.add_argument("--seconds-per-pass", type=float, default=8, help="of the slowest method")
    parser.add_argument("--accuracy", action="store_true", help="of bf16 against fp32")
    parser.add_argument("--peers-bf16", action="store_true", help="peers also under autocast")
    parser.add_argument("--seed", type=int, default=0, help="of weights, clips and cuts")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def read_clips(corpora: Path, count: int | None, seed: int) -> list[Tensor]:
    """Decode URDU, or `count` clips drawn from it, in file order: each `[S]`."""
    clips = read_manifest(corpora / "urdu" / "urdu.csv").clips
    drawn = draw(clips, count or len(clips), seed)
    return [read_audio(clip.path, start=clip.start, end=clip.end) for clip in drawn]


def cut_clips(clips: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Join all clips and cut the whole into pieces of random lengths; the rest is left out."""
    lengths = random.Random(seed)
    whole = torch.cat(list(clips))
    pieces, start = [], 0
    while True:
        stop = start + round(SAMPLE_RATE * lengths.uniform(*CUT_SECONDS))
        if stop > len(whole):
            return pieces
        pieces.append(whole[start:stop])
        start = stop


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    packages = ("torch", "transformers", "s3prl", "speechbrain")
    return {
        "versions": {name: _version(name) for name in packages},
        "processor": processor_name(options.device),
        # Of the minute before: beside other work, single rounds are off several times over.
        "load_before": os.getloadavg()[0],
        "threads": options.threads,
        "device": options.device,
        "repeats": options.repeats,
        "seconds_per_pass": options.seconds_per_pass,
        "seed": options.seed,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
