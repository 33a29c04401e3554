# SPDX-License-Identifier: Apache-2.0
"""How fast `check-data` goes through a corpus: seconds of audio in a second, start included.

    python benchmarks/check_data.py --corpora CORPORA --jobs 2 --out runs/check_data.json

Writes one manifest over all corpora found below the folder (NAME/NAME.csv) and runs the command on
it, in a process of its own as a user does: imports, decoding, measuring, the search for copies and
the report are all in the time.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measured import met, table_head, table_line, write_results

TARGET = 300.0  # times real time
COLUMNS = ["id", "path", "label", "speaker"]
ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every number of jobs that was asked for and print the table."""
    options = parse(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "all.csv"
        join_corpora(options.corpora, manifest)
        for jobs in options.jobs:
            rounds = [measure(manifest, jobs) for _ in range(options.repeats)]
            rows.append(summarize(jobs, rounds))
    results = {"setup": {"load_before": options.load, "repeats": options.repeats}, "rows": rows}
    write_results(options.out, results)
    print(table(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpora", type=Path, required=True, help="folder of corpora")
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2], help="numbers of processes")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; the median counts")
    return parser.parse_args(arguments, argparse.Namespace(load=os.getloadavg()[0]))


def join_corpora(folder: Path, manifest: Path) -> None:
    """Write one manifest over all corpora; ids, labels and speakers begin with the corpus's name.

    Args:
        folder: Has NAME/NAME.csv for each corpus.
        manifest: The file to write.

    Raises:
        FileNotFoundError: There is no corpus.
    """
    found = sorted(path for path in folder.glob("*/*.csv") if path.stem == path.parent.name)
    if not found:
        raise FileNotFoundError(f"{folder} holds no NAME/NAME.csv; give --corpora another folder.")
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for source in found:
            with source.open(encoding="utf-8", newline="") as rows:
                for row in csv.DictReader(rows):
                    named = [f"{source.stem} {row[name]}" for name in ("path", "label", "speaker")]
                    writer.writerow([named[0], source.parent.resolve() / row["path"], *named[1:]])


def measure(manifest: Path, jobs: int) -> dict[str, float]:
    """Run the command once.

    Raises:
        RuntimeError: It could not run.
    """
    report = manifest.with_name("report.json")
    command = [sys.executable, str(ROOT / "recipes" / "check_data.py"), str(manifest)]
    command += ["--allow-outside", "--jobs", str(jobs), "--json", str(report)]
    command += ["--html", str(report.with_suffix(".html"))]
    began = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"check_data failed:\n{ran.stderr}")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return {"seconds": seconds, "audio": 3600 * found["hours"], "clips": found["usable_clips"]}


def summarize(jobs: int, rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The median of several runs."""
    seconds = statistics.median(found["seconds"] for found in rounds)
    audio = rounds[0]["audio"]
    all_seconds = [found["seconds"] for found in rounds]
    return {
        "jobs": jobs,
        "clips": int(rounds[0]["clips"]),
        "hours": audio / 3600,
        "seconds": seconds,
        "all_seconds": all_seconds,
        "speed": audio / seconds,
    }


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    lines = [
        f"Median of {setup['repeats']} runs, start and reports included; load before: "
        f"{setup['load_before']:.1f}.",
        "",
        *table_head(["processes", "clips", "audio", "time", f"times real time (> {TARGET:g})"]),
    ]
    for row in results["rows"]:
        cells = [
            str(row["jobs"]),
            f"{row['clips']:,}",
            f"{row['hours']:.2f} h",
            f"{row['seconds']:.1f} s",
            f"{row['speed']:.0f} ({met(row['speed'] > TARGET)})",
        ]
        lines.append(table_line(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
