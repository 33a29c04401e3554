# SPDX-License-Identifier: Apache-2.0
"""What `inference.py` times: many clips, one clip, and commands from their start."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from inference_models import (
    SAMPLE_RATE,
    draw_clips,
    frames_agree,
    make_filterbank_model,
    make_hubert,
    make_ours,
    make_pipeline,
    save_hubert,
)

# Frames in float32, ours to those of transformers, relative to the largest.
_AGREEMENT = 1e-4
IMPORT = """
import time
start = time.perf_counter()
import voxadapt
print(time.perf_counter() - start)
"""


def time_throughput(
    size: str, clips: Sequence[np.ndarray], rounds: int, *, bf16: bool
) -> dict[str, Any]:
    """Seconds that each way takes for all clips, all ways taking turns.

    Args:
        size: Of the encoder.
        clips: ``[S]`` float32 each.
        rounds: Turns of each way.
        bf16: Whether to run our encoder in bf16, too.

    Returns:
        The size, ``difference`` of the frames, and by way ``seconds`` of each round and those of
        ``cpu``.
    """
    model = make_hubert(size)
    classify = make_pipeline(model)
    with tempfile.TemporaryDirectory() as folder:
        save_hubert(model, Path(folder))
        ours = make_ours(Path(folder), "fp32")
        rounded = make_ours(Path(folder), "bf16") if bf16 else None
    difference = frames_agree(model, ours, clips[0])
    if difference > _AGREEMENT:
        raise RuntimeError(f"{size}: the frames differ by {difference:.1e}; not the same encoder")

    def inputs() -> list[dict[str, Any]]:  # the pipeline takes them apart
        return [{"raw": clip, "sampling_rate": SAMPLE_RATE} for clip in clips]

    ways: dict[str, Callable[[], Any]] = {
        "pipeline, one by one": lambda: [classify(clip) for clip in inputs()],
        "pipeline, batch_size=8": lambda: classify(inputs(), batch_size=8),
        "predict, fp32": lambda: ours.predict(list(clips), SAMPLE_RATE),
    }
    if rounded is not None:
        ways["predict, bf16"] = lambda: rounded.predict(list(clips), SAMPLE_RATE)
    classify(inputs()[:2])
    ours.predict(list(clips[:2]), SAMPLE_RATE)
    times: dict[str, list[float]] = {way: [] for way in ways}
    of_cpu: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            run()
            times[way].append(time.perf_counter() - start)
            of_cpu[way].append(time.process_time() - cpu)
    return {"size": size, "difference": difference, "seconds": times, "cpu": of_cpu}


def time_one_clip(seconds: float, repeats: int, threads: int) -> dict[str, list[float]]:
    """Seconds of each `predict` of one clip by the filterbank model, after warm-up.

    Args:
        seconds: Length of the clip.
        repeats: Predictions that count.
        threads: Threads of torch.

    Returns:
        By where the clip comes from, the seconds of each prediction.
    """
    model = make_filterbank_model()
    samples = draw_clips(1, seconds)[0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.wav"
            soundfile.write(path, samples, SAMPLE_RATE)
            ways: dict[str, Callable[[], Any]] = {
                "samples": lambda: model.predict(samples, SAMPLE_RATE),
                "WAV file": lambda: model.predict(path),
            }
            return {way: _time_each(run, repeats) for way, run in ways.items()}
    finally:
        torch.set_num_threads(before)


def _time_each(run: Callable[[], Any], repeats: int) -> list[float]:
    for _ in range(max(3, repeats // 10)):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def time_starts(repeats: int, threads: int) -> dict[str, Any]:
    """Seconds of new processes: the first prediction of the command, and of imports alone.

    Args:
        repeats: Processes of each kind; kinds take turns.
        threads: Threads of torch in them.

    Returns:
        By kind, the seconds of each process from its start to its end, and those of CPU; of
        ``import voxadapt``, of that statement alone.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        model, path = Path(folder) / "model", Path(folder) / "clip.wav"
        make_filterbank_model().save_pretrained(model)
        soundfile.write(path, draw_clips(1, 3.0)[0], SAMPLE_RATE)
        commands = {
            "voxadapt predict": ["-m", "voxadapt.cli", "predict", str(model), str(path)],
            "import torch": ["-c", "import torch"],
        }
        found: dict[str, Any] = {kind: {"wall": [], "cpu": []} for kind in commands}
        imports = []
        for _ in range(repeats):
            for kind, command in commands.items():
                wall, cpu, _ = _run(command, environment)
                found[kind]["wall"].append(wall)
                found[kind]["cpu"].append(cpu)
            imports.append(float(_run(["-c", IMPORT], environment)[2]))
        return {**found, "import voxadapt": imports}


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Run Python, and return seconds from start to end, seconds of CPU, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, ran.stdout


def percentile(times: Sequence[float], share: float) -> float:
    """The time below which that share of them is."""
    return float(np.percentile(times, 100 * share))


def median(times: Sequence[float]) -> float:
    """The median."""
    return statistics.median(times)
