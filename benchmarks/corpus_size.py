# SPDX-License-Identifier: Apache-2.0
"""What a larger corpus costs a start of pretraining: seconds and memory, against a small one.

    python benchmarks/corpus_size.py --threads 2 --out runs/corpus_size.json

Makes a corpus of segments of a few hundred short files, with a feature cache whose shards all hold
the same frames (links to one file), and runs `pretrain_adapter` on it for one step, in a process of
its own for each size. So nothing is encoded, but all else is as for real: the manifest is read and
checked, the files are hashed, the cache's lists are read, statistics, codebook and batches are
computed. Real corpora have more audio to hash: that takes as long as reading it.
"""

import argparse
import csv
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measured import met, peak_megabytes, table_head, table_line, write_results

SECONDS_TARGET = 10.0
MEGABYTES_TARGET = 300.0
FILES = 400
FRAMES = 125  # of a clip: 2.5 s
CLIPS_A_SHARD = 512


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size that was asked for and print the table."""
    options = parse(arguments)
    if options.child:
        run_child(options)
        return
    rows = []
    for clips in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            make_corpus(Path(folder), clips, options.seed)
            rounds = [measure(Path(folder), number, options) for number in range(options.repeats)]
        # Other work on the machine can only add to the time.
        rows.append({"clips": clips, **min(rounds, key=lambda found: found["ready"])})
    results = {"setup": describe_setup(options), "rows": rows}
    write_results(options.out, results)
    print(table(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--clips", nargs="+", type=int, default=[2_000, 200_000], help="sizes")
    parser.add_argument("--repeats", type=int, default=2, help="starts of each; the fastest counts")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--seed", type=int, default=0, help="of audio and frames")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def make_corpus(folder: Path, clips: int, seed: int) -> None:
    """Write a manifest, its audio, and a cache of its features.

    Args:
        folder: An empty folder; gets `corpus.csv`, `audio` and `features`.
        clips: Clips in the manifest.
        seed: Seed of audio and frames.
    """
    from voxadapt.backbones import load_backbone
    from voxadapt.recipes.corpora.clip_keys import clip_keys
    from voxadapt.recipes.corpora.feature_cache import extract_features
    from voxadapt.recipes.corpora.feature_shards import write_shard
    from voxadapt.recipes.corpora.manifest import read_manifest

    random = np.random.default_rng(seed)
    # Segments of a file begin a millisecond apart, so that each is another clip.
    segments = -(-clips // FILES)
    (folder / "audio").mkdir()
    for number in range(min(FILES, clips)):
        samples = random.integers(-9999, 9999, 40_000 + 16 * segments, dtype="<i2")
        with wave.open(str(folder / "audio" / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    with open(folder / "corpus.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "start", "end", "speaker"])
        for clip in range(clips):
            start = clip // FILES / 1000
            place = [f"audio/{clip % FILES}.wav", f"{start:.3f}", f"{start + 2.5:.3f}"]
            writer.writerow([f"clip-{clip:08}", *place, f"speaker-{clip % FILES}"])
    found = read_manifest(folder / "corpus.csv").clips
    backbone = load_backbone("fbank")
    extract_features(found[:1], backbone, folder / "features", progress=False)  # makes the folder
    (features,) = (folder / "features").iterdir()
    for file in [*features.glob("*.npy"), *features.glob("[0-9a-f]*.json")]:
        file.unlink()
    keys = sorted(str(key) for key in clip_keys(found))
    shape = (FRAMES, backbone.spec.feature_size)
    frames = {key: random.standard_normal(shape).astype("<f2") for key in keys[:CLIPS_A_SHARD]}
    write_shard(features, frames)
    (first,) = features.glob("*.npy")
    for start in range(CLIPS_A_SHARD, len(keys), CLIPS_A_SHARD):
        part = keys[start : start + CLIPS_A_SHARD]
        os.link(first, features / f"{start:032x}.npy")
        contents = {"keys": part, "lengths": [FRAMES] * len(part), "bytes": first.stat().st_size}
        (features / f"{start:032x}.json").write_text(json.dumps(contents), encoding="utf-8")


def measure(folder: Path, number: int, options: argparse.Namespace) -> dict[str, float]:
    """Start a run in a process of its own, to its first step."""
    out = folder / f"run-{number}"
    result = folder / f"result-{number}.json"
    command = [sys.executable, __file__, "--child", str(result), "--began", repr(time.time())]
    command += ["--run", "--data", str(folder / "corpus.csv"), "--features"]
    command += [str(folder / "features"), "--out", str(out), "--max-steps=1", "--epochs=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"the run failed:\n{child.stderr}")
    found: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return found


def run_child(options: argparse.Namespace) -> None:
    """Run the recipe and write down when it was where, and the most memory that it had."""
    from voxadapt.recipes import pretrain_adapter

    found = {"imported": time.time() - options.began}
    train, step = pretrain_adapter.train, pretrain_adapter.train_step

    def timed_train(run: Any) -> bool:
        found["ready"] = time.time() - options.began
        found["ready_megabytes"] = peak_megabytes()
        return train(run)

    def timed_step(*arguments: Any) -> float:
        loss = step(*arguments)
        found.setdefault("stepped", time.time() - options.began)
        return loss

    pretrain_adapter.train, pretrain_adapter.train_step = timed_train, timed_step
    pretrain_adapter.main(options.run)
    found["megabytes"] = peak_megabytes()
    options.child.write_text(json.dumps(found), encoding="utf-8")


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "torch": importlib.metadata.version("torch"),
        "load_before": os.getloadavg()[0],
        "threads": options.threads,
        "repeats": options.repeats,
    }


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup, rows = results["setup"], results["rows"]
    heads = [
        "clips",
        "imports",
        f"ready to train (< {SECONDS_TARGET:g} s)",
        "codebook and first step done",
        "memory when ready",
        "peak memory",
        f"over the smallest (< {MEGABYTES_TARGET:g} MB)",
    ]
    lines = [
        f"torch {setup['torch']}, {setup['threads']} threads; the faster of {setup['repeats']} "
        f"starts; load: {setup['load_before']:.1f}.",
        "",
        *table_head(heads),
    ]
    least = min(rows, key=lambda row: row["clips"])
    for row in rows:
        added = row["megabytes"] - least["megabytes"]
        cells = [
            f"{row['clips']:,}",
            f"{row['imported']:.1f} s",
            f"{row['ready']:.1f} s ({met(row['ready'] < SECONDS_TARGET)})",
            f"{row['stepped']:.1f} s",
            f"{row['ready_megabytes']:.0f} MB",
            f"{row['megabytes']:.0f} MB",
            f"{added:+.0f} MB ({met(added < MEGABYTES_TARGET)})",
        ]
        lines.append(table_line(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
