# SPDX-License-Identifier: Apache-2.0
"""What audio inside of tar shards or a dataset's table costs, against files of its own.

    python benchmarks/containers.py --out runs/containers.json

Writes the same clips three times: as WAV files with a manifest, as WebDataset shards, and as a
dataset of the `datasets` library. For each, in a process of its own: the first start (shards are
indexed), a later start with the keys that find cached frames, and the decoding of all clips in
their order and in a random one, as extraction and online training read them. All of it is in the
system's memory by then, so that the numbers are of the code and not of a disk.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measured import peak_megabytes, table_head, table_line, write_results

SECONDS = 3.0
SHARD_CLIPS = 500
KINDS = ("files", "wds", "hf")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every kind and print the table."""
    options = parse(arguments)
    if options.make:
        print(json.dumps(make_corpora(Path.cwd(), options.clips, options.seed)))
        return
    if options.child:
        print(json.dumps(measure_here(options.child, options.seed)))
        return
    results: dict[str, Any] = {"setup": describe_setup(options), "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own as well: the most memory of a process is handed on to its
        # children, and writing takes more than reading.
        sources = run_child(Path(folder), "--make", f"--clips={options.clips}", options.seed)
        for kind in KINDS:
            first = run_child(Path(folder), "--child", sources[kind], options.seed)
            later = [
                run_child(Path(folder), "--child", sources[kind], options.seed)
                for _ in range(options.repeats)
            ]
            # Other work on the machine can only add to the time.
            best = {name: min(found[name] for found in later) for name in first}
            results["rows"].append({"kind": kind, "first_start": first["start"], **best})
    write_results(options.out, results)
    print(table(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--clips", type=int, default=10_000, help="clips of 3 s")
    parser.add_argument("--repeats", type=int, default=3, help="later starts; the least of each")
    parser.add_argument("--seed", type=int, default=0, help="of the audio and of the random order")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def make_corpora(folder: Path, clips: int, seed: int) -> dict[str, str]:
    """Write the clips in every kind; what `--data` names each by."""
    (folder / "audio").mkdir()
    random = np.random.default_rng(seed)
    with open(folder / "corpus.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for clip in range(clips):
            samples = random.integers(-9999, 9999, round(SECONDS * 16_000), dtype="<i2")
            with wave.open(str(folder / "audio" / f"{clip:06}.wav"), "wb") as stream:
                stream.setparams((1, 2, 16_000, 0, "NONE", ""))
                stream.writeframes(samples.tobytes())
            writer.writerow([f"audio/{clip:06}.wav", "even" if clip % 2 == 0 else "odd"])
    paths = sorted((folder / "audio").iterdir())
    return {
        "files": str(folder / "corpus.csv"),
        "wds": write_shards(folder, paths),
        "hf": write_dataset(folder, paths),
    }


def write_shards(folder: Path, paths: Sequence[Path]) -> str:
    """Pack files into shards."""
    from webdataset import TarWriter

    for first in range(0, len(paths), SHARD_CLIPS):
        with TarWriter(str(folder / f"clips-{first // SHARD_CLIPS:04}.tar")) as writer:
            for path in paths[first : first + SHARD_CLIPS]:
                writer.write({"__key__": path.stem, "wav": path.read_bytes(), "cls": "even"})
    return f"wds:{folder}/clips-*.tar"


def write_dataset(folder: Path, paths: Sequence[Path]) -> str:
    """Pack files into a dataset of the `datasets` library."""
    import datasets

    datasets.disable_progress_bars()
    audio = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    rows = datasets.Dataset.from_generator(
        lambda: ({"audio": {"bytes": path.read_bytes(), "path": path.name}} for path in paths),
        features=datasets.Features({"audio": audio}),
        cache_dir=str(folder / "cache"),
    )
    rows.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(str(folder / "saved"))
    return f"hf:{folder / 'saved'}"


def run_child(folder: Path, do: str, what: str, seed: int) -> dict[str, Any]:
    """Run this script in a new process, in a folder; what it prints last."""
    command = [sys.executable, os.path.abspath(__file__), do, what, "--seed", str(seed)]
    child = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if child.returncode:
        raise RuntimeError(f"{do} {what} failed:\n{child.stderr}")
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


def measure_here(source: str, seed: int) -> dict[str, float]:
    """Read a corpus here: seconds for each part, clips a second, and the most memory."""
    from voxadapt.backbones.audio import read_audio
    from voxadapt.recipes.corpora.clip import Clip
    from voxadapt.recipes.corpora.clip_keys import clip_keys, map_in_threads
    from voxadapt.recipes.corpora.manifest import read_manifest

    def length_of(clip: Clip) -> int:
        return len(read_audio(clip.audio))

    found: dict[str, float] = {}
    clips, found["start"] = timed(lambda: read_manifest(source).clips)
    found["start_megabytes"] = peak_megabytes()
    keys, found["keys"] = timed(lambda: clip_keys(clips))
    mixed = [clips[index] for index in np.random.default_rng(seed).permutation(len(clips))]
    in_order, found["in_order"] = timed(lambda: sum(map_in_threads(length_of, clips)))
    at_random, found["at_random"] = timed(lambda: sum(map_in_threads(length_of, mixed)))
    if None in keys or not in_order == at_random == len(clips) * round(SECONDS * 16_000):
        raise RuntimeError(f"{source} does not hold what was written")
    return {**found, "clips": len(clips), "megabytes": peak_megabytes()}


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and the seconds that it took."""
    began = time.perf_counter()
    result = function()
    return result, time.perf_counter() - began


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "clips": options.clips,
        "cores": os.cpu_count(),
        "repeats": options.repeats,
        "load_before": os.getloadavg()[0],
    }


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    heads = ["audio in", "first start", "later start", "keys", "in order", "at random"]
    heads += ["memory after the start", "peak memory"]
    lines = [
        f"{setup['clips']:,} clips of {SECONDS:g} s, {setup['cores']} cores; the least of "
        f"{setup['repeats']} later starts; load: {setup['load_before']:.1f}.",
        "",
        *table_head(heads),
    ]
    for row in results["rows"]:
        cells = [
            {"files": "files", "wds": "tar shards", "hf": "a dataset's table"}[row["kind"]],
            *(f"{row[name]:.2f} s" for name in ("first_start", "start", "keys")),
            *(f"{row['clips'] / row[name]:,.0f} clips/s" for name in ("in_order", "at_random")),
            *(f"{row[name]:.0f} MB" for name in ("start_megabytes", "megabytes")),
        ]
        lines.append(table_line(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
