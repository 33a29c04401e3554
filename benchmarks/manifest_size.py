# SPDX-License-Identifier: Apache-2.0
"""What reading and checking a large manifest costs: seconds and memory, CSV and JSONL.

    python benchmarks/manifest_size.py --out runs/manifest_size.json

Makes folders of empty files (reading a manifest asks whether its audio is there, and does not open
it) and a manifest of them with seven columns, and reads it in a process of its own, several times.
Just made, the folders are in the system's memory; on a disk that has not been read yet, listing
them comes on top.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measured import met, peak_megabytes, table_head, table_line, write_results

SECONDS_TARGET = 20.0
MEGABYTES_TARGET = 1500.0
FILES_A_FOLDER = 1_000
COLUMNS = ("id", "path", "label", "speaker", "split", "seconds", "text")
LABELS = ("angry", "happy", "neutral", "sad")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both formats and print the table."""
    options = parse(arguments)
    if options.child:
        print(json.dumps(read_once(options.child)))
        return
    results: dict[str, Any] = {"setup": describe_setup(options), "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for manifest in make_corpus(Path(folder), options.rows):
            rounds = [measure(manifest) for _ in range(options.repeats)]
            results["rows"].append(
                {
                    "format": manifest.suffix[1:],
                    "bytes": manifest.stat().st_size,
                    "clips": rounds[0]["clips"],
                    **{
                        name: statistics.median(found[name] for found in rounds)
                        for name in ("seconds", "processor_seconds")
                    },
                    "megabytes": max(found["megabytes"] for found in rounds),
                }
            )
    write_results(options.out, results)
    print(table(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--rows", type=int, default=1_000_000, help="clips of the manifest")
    parser.add_argument("--repeats", type=int, default=3, help="times to read each; the median")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def make_corpus(folder: Path, rows: int) -> list[Path]:
    """Write empty files and their manifest in both formats, which are returned.

    Args:
        folder: An empty folder.
        rows: Clips.
    """
    by_csv, by_json = folder / "corpus.csv", folder / "corpus.jsonl"
    with (
        open(by_csv, "w", encoding="utf-8", newline="") as csv_file,
        open(by_json, "w", encoding="utf-8") as json_file,
    ):
        writer = csv.writer(csv_file)
        writer.writerow(COLUMNS)
        for row in _rows(rows):
            path = folder / row[1]
            if path.name == "0000.wav":
                path.parent.mkdir(parents=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            writer.writerow(row)
            json_file.write(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n")
    return [by_csv, by_json]


def _rows(count: int) -> Iterator[list[str]]:
    for clip in range(count):
        speaker, take = divmod(clip, FILES_A_FOLDER)
        yield [
            f"clip-{clip:08}",
            f"audio/speaker-{speaker:04}/{take:04}.wav",
            LABELS[clip % len(LABELS)],
            f"speaker-{speaker:04}",
            ("train", "train", "valid", "test")[speaker % 4],
            f"{2 + clip % 300 / 100:.2f}",
            f"what is said in clip {clip}, word by word",
        ]


def measure(manifest: Path) -> dict[str, float]:
    """Read a manifest in a new process."""
    command = [sys.executable, __file__, "--child", str(manifest)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"reading {manifest} failed:\n{child.stderr}")
    found: dict[str, float] = json.loads(child.stdout)
    return found


def read_once(manifest: Path) -> dict[str, float]:
    """Read a manifest here: its clips, the time, and the most memory of this process."""
    from voxadapt.recipes.corpora.manifest import read_manifest

    began, spent = time.perf_counter(), time.process_time()
    found = read_manifest(manifest, require_label=True)
    return {
        "clips": len(found.clips),
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - spent,
        "megabytes": peak_megabytes(),
    }


def describe_setup(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "repeats": options.repeats,
    }


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    heads = ["format", "clips", "size", f"read and checked (< {SECONDS_TARGET:g} s)"]
    heads += ["of it computing", f"peak memory (< {MEGABYTES_TARGET:g} MB)"]
    lines = [
        f"Python {setup['python']}; medians of {setup['repeats']}, the most memory of them; load: "
        f"{setup['load_before']:.1f}.",
        "",
        *table_head(heads),
    ]
    for row in results["rows"]:
        cells = [
            row["format"],
            f"{row['clips']:,}",
            f"{row['bytes'] / 1e6:.0f} MB",
            f"{row['seconds']:.1f} s ({met(row['seconds'] < SECONDS_TARGET)})",
            f"{row['processor_seconds']:.1f} s",
            f"{row['megabytes']:.0f} MB ({met(row['megabytes'] < MEGABYTES_TARGET)})",
        ]
        lines.append(table_line(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
