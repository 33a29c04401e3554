# SPDX-License-Identifier: Apache-2.0
"""`serve` under load: clients that ask one after the other, for a minute, all at once.

    python benchmarks/serving.py runs/finetune --clips urdu

The server is a process of its own, as a user starts it. The clients are threads of this one, each
with a connection that it keeps. Every tenth request is malformed and must be refused with a 4xx.
Memory is that of the server after a warm-up, at the end, and at most in between.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measured import table_head, table_line, told_megabytes, write_results

ENDINGS = {".wav", ".flac", ".ogg", ".mp3"}
MALFORMED = (b"", b"RIFF", b"no audio at all" * 99, bytes(9_999))
MALFORMED_EVERY = 10


@dataclass
class Visits:
    """What one client saw.

    Attributes:
        seconds: Time of each answer to a good request.
        statuses: How often each status came for good requests.
        malformed: How often each status came for malformed ones.
        failures: Connections that failed, by their error.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    malformed: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = parse(arguments)
    clips = read_clips(options.clips, options.most_clips)
    with start_server(options.run, options.page) as (process, port):
        load(port, clips, options.clients, options.warm_up)
        begun = health(port)
        with watch_memory(process) as resident:
            visits = load(port, clips, options.clients, options.seconds)
        ended = health(port)
    results = {
        "setup": {
            "clients": options.clients,
            "seconds": options.seconds,
            "clips": len(clips),
            "cores": os.cpu_count(),
            "load_before": options.load,
        },
        **summarize(visits, options.seconds),
        "clips_per_batch": (ended["answered"] - begun["answered"])
        / max(1, ended["batches"] - begun["batches"]),
        "resident_mb": resident,
    }
    write_results(options.out, results)
    print(table(results))
    if results["errors"]:
        sys.exit(f"{results['errors']} requests went wrong: {results['wrong']}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder that `finetune` wrote")
    parser.add_argument("--clips", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--most-clips", type=int, default=200, help="recordings to send")
    parser.add_argument("--clients", type=int, default=32, help="clients at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they ask")
    parser.add_argument("--warm-up", type=float, default=20.0, help="how long they ask before")
    parser.add_argument("--page", action="store_true", help="serve the page too")
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    return parser.parse_args(arguments, argparse.Namespace(load=os.getloadavg()[0]))


def read_clips(folder: Path, most: int) -> list[bytes]:
    """Files of recordings, spread over the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        sys.exit(f"--clips {folder}: holds no recording ({', '.join(sorted(ENDINGS))})")
    chosen = np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)
    return [paths[row].read_bytes() for row in chosen]


@contextmanager
def start_server(run: Path, page: bool) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the server on a free port and wait until it answers; it is ended afterwards."""
    command = [sys.executable, "-m", "voxadapt.cli", "serve", str(run), "--port=0"]
    command += ["--page" if page else "--no-page", "--max-waiting=256"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        told = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/predict", told)):
            line = process.stderr.readline()
            if not line:
                sys.exit(f"the server did not start: {told}")
            told += line
        threading.Thread(target=process.stderr.read, daemon=True).start()
        port = int(found[1])
        for _ in range(300):
            try:
                health(port)
                break
            except OSError:
                time.sleep(0.1)
        yield process, port
    finally:
        process.terminate()
        process.wait(timeout=30)


def health(port: int) -> dict[str, Any]:
    """What ``/health`` says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/health")
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def load(port: int, clips: list[bytes], clients: int, seconds: float) -> list[Visits]:
    """Let clients ask one request after the other for some seconds."""
    ends = time.monotonic() + seconds
    visits = [Visits() for _ in range(clients)]
    threads = [
        threading.Thread(target=ask_on, args=(port, clips, number, ends, seen))
        for number, seen in enumerate(visits)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return visits


def ask_on(port: int, clips: list[bytes], number: int, ends: float, seen: Visits) -> None:
    """One client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    step = number
    while time.monotonic() < ends:
        step += 1
        malformed = step % MALFORMED_EVERY == 0
        body = MALFORMED[step % len(MALFORMED)] if malformed else clips[7 * step % len(clips)]
        begun = time.monotonic()
        try:
            connection.request("POST", "/predict", body, {"Content-Type": "audio/wav"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            seen.failures[type(error).__name__] += 1
            connection.close()
            continue
        if malformed:
            seen.malformed[answer.status] += 1
        else:
            seen.statuses[answer.status] += 1
            seen.seconds.append(time.monotonic() - begun)
    connection.close()


def summarize(visits: Sequence[Visits], seconds: float) -> dict[str, Any]:
    """Rates, times and errors of all clients together."""
    times = np.array([time for seen in visits for time in seen.seconds])
    statuses = sum((seen.statuses for seen in visits), Counter[int]())
    malformed = sum((seen.malformed for seen in visits), Counter[int]())
    failures = sum((seen.failures for seen in visits), Counter[str]())
    wrong = {f"{status} for a clip": count for status, count in statuses.items() if status != 200}
    wrong |= {
        f"{status} for a malformed body": count
        for status, count in malformed.items()
        if not 400 <= status < 500
    }
    wrong |= dict(failures)
    p50, p99 = np.percentile(times, [50, 99]) if len(times) else (float("nan"),) * 2
    return {
        "requests": int(statuses.total() + malformed.total()),
        "per_second": (statuses.total() + malformed.total()) / seconds,
        "p50_ms": 1_000 * float(p50),
        "p99_ms": 1_000 * float(p99),
        "refused": int(malformed.total()),
        "errors": sum(wrong.values()),
        "wrong": wrong,
    }


@contextmanager
def watch_memory(process: subprocess.Popen[str]) -> Iterator[list[float]]:
    """The memory of a process (MB), about every second, from the beginning to the end."""
    found, ended = [resident_megabytes(process)], threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            found.append(resident_megabytes(process))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        ended.set()
        watching.join()
        found.append(resident_megabytes(process))


def resident_megabytes(process: subprocess.Popen[str]) -> float:
    """Memory of a process (MB of 10^6 bytes)."""
    found = told_megabytes(process.pid, "VmRSS")
    if found is None:
        raise RuntimeError(
            "the memory of the server is not told: it has ended, or this is no Linux"
        )
    return found


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    resident = results["resident_mb"]
    setup = results["setup"]
    cells = [
        f"{setup['clients']} for {setup['seconds']:g} s",
        f"{results['requests']:,}",
        f"{results['per_second']:.0f}",
        f"{results['p50_ms']:.0f}",
        f"{results['p99_ms']:.0f}",
        f"{results['clips_per_batch']:.1f}",
        f"{results['errors']}",
        f"{resident[0]:.0f} → {resident[-1]:.0f}, at most {max(resident):.0f}",
    ]
    heads = ["clients", "requests", "a second", "p50, ms", "p99, ms", "clips a batch", "errors"]
    return "\n".join([*table_head([*heads, "server's memory, MB"]), table_line(cells)])


if __name__ == "__main__":
    main()
