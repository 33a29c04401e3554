# SPDX-License-Identifier: Apache-2.0
"""Fits of the codebook against other k-means: time, and how close frames come to centroids.

    python benchmarks/codebook.py --threads 2 --out runs/codebook.json

`fit_codebook` with each backend, faiss.Kmeans on all frames with 20 iterations, and scikit-learn's
MiniBatchKMeans twice, with its defaults and with 20 passes over the frames, take turns, each with a
new seed in every round. Ours are timed with all that `fit_codebook` does beside k-means: checks,
first centroids, ids, inertia and perplexity. Inertia is computed in one way for all. Frames are
made up (`make_frames`), or read from a `.npy` file.
"""

import argparse
import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measured import met, table_head, table_line, write_results
from torch import Tensor
from tqdm import tqdm

from voxadapt.adapters import fit_codebook
from voxadapt.adapters.kmeans import nearest

ITERATIONS = 20
FAISS = "faiss.Kmeans, all frames"
MINI_BATCH = "MiniBatchKMeans, defaults"  # which stop it as soon as a few batches gain nothing
MINI_BATCH_WHOLE = f"MiniBatchKMeans, {ITERATIONS} passes"
OURS = {"faiss": "ours, faiss", "torch": "ours, torch"}
# The inertia that counts as no worse than faiss's: what two seeds differ by.
INERTIA_TARGET = 1.005
MINI_BATCH_TARGET = 0.5
CHUNK = 50_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    frames = read_frames(options)
    results = {"setup": describe_setup(options, frames), "rows": measure(frames, options)}
    write_results(options.out, results)
    print(table(results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    parser.add_argument("--frames", type=Path, help=".npy file of frames [N, D] to take")
    parser.add_argument("--frames-count", type=int, default=500_000, help="frames to make")
    parser.add_argument("--features", type=int, default=384, help="of a frame")
    parser.add_argument("--attributes", type=int, default=256, help="centroids")
    parser.add_argument(
        "--iterations", type=int, default=ITERATIONS, help="at most, of ours; faiss.Kmeans has 20"
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are compared")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and of OpenMP")
    parser.add_argument("--device", default="cpu", help="where the torch backend computes")
    parser.add_argument("--seed", type=int, default=0, help="of the frames and of the first round")
    return parser.parse_args(arguments)


def read_frames(options: argparse.Namespace) -> Tensor:
    """Frames ``[N, D]`` float32, made or read."""
    if options.frames:
        return torch.from_numpy(np.load(options.frames, allow_pickle=False)).float().contiguous()
    return make_frames(options.frames_count, options.features, options.seed)


def make_frames(count: int, features: int, seed: int) -> Tensor:
    """Make frames ``[N, D]`` with what k-means meets in a teacher's.

    There are kinds of frames, some frequent and some rare, each with a spread of its own; features
    are correlated, since kind and spread lie in fewer dimensions; frames are layer-normalised.

    Args:
        count: Frames ``N``.
        features: Features ``D`` of a frame.
        seed: Seed of the frames.
    """
    random = np.random.default_rng(seed)
    kinds, inner = 60, max(2, features // 4)
    means = random.standard_normal((kinds, inner)).astype(np.float32)
    spreads = random.uniform(0.3, 0.8, kinds).astype(np.float32)
    shares = random.dirichlet(np.ones(kinds))
    mixing = random.standard_normal((inner, features)).astype(np.float32)
    frames = torch.empty(count, features)
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        kind = random.choice(kinds, size, p=shares)
        noise = random.standard_normal((size, inner), dtype=np.float32)
        made = (means[kind] + spreads[kind, None] * noise) @ mixing  # [n, D]
        made += 0.1 * inner**0.5 * random.standard_normal((size, features), dtype=np.float32)
        frames[first : first + size] = F.layer_norm(torch.from_numpy(made), (features,))
    return frames


def measure(frames: Tensor, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run everything in turns and return a row for each, in the table's order."""
    ways = make_ways(frames, options)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for number in tqdm(range(options.repeats), desc="codebooks", unit="round"):
        for name, fit in ways.items():
            start = time.perf_counter()
            centroids = fit(options.seed + number)
            elapsed = time.perf_counter() - start
            inertia = float(nearest(frames, centroids)[1].double().mean())
            rounds[name].append({"seconds": elapsed, "inertia": inertia})
    rows = []
    for name, found in rounds.items():
        medians = {key: statistics.median(one[key] for one in found) for key in found[0]}
        rows.append({"way": name, **medians, "rounds": found})
    return rows


def make_ways(frames: Tensor, options: argparse.Namespace) -> dict[str, Callable[[int], Tensor]]:
    """Ways to fit centroids ``[K, D]``, given a seed."""
    import faiss
    from sklearn.cluster import MiniBatchKMeans

    faiss.omp_set_num_threads(options.threads)
    samples, clusters = frames.numpy(), options.attributes
    there = frames.to(options.device)

    def ours_by_faiss(seed: int) -> Tensor:
        return fit_codebook(
            frames, clusters, seed=seed, iterations=options.iterations, backend="faiss"
        ).centroids

    def ours_by_torch(seed: int) -> Tensor:
        return fit_codebook(
            there, clusters, seed=seed, iterations=options.iterations, backend="torch"
        ).centroids

    def faiss_alone(seed: int) -> Tensor:
        kmeans = faiss.Kmeans(
            frames.shape[1],
            clusters,
            niter=ITERATIONS,
            seed=seed,
            max_points_per_centroid=len(samples),
            min_points_per_centroid=1,
        )
        kmeans.train(samples)
        return torch.from_numpy(kmeans.centroids)

    def mini_batches(seed: int, **limits: Any) -> Tensor:
        found = MiniBatchKMeans(clusters, random_state=seed, n_init="auto", **limits).fit(samples)
        return torch.from_numpy(found.cluster_centers_).float()

    whole = partial(mini_batches, max_iter=ITERATIONS, max_no_improvement=None, tol=0.0)
    ours = {OURS["faiss"]: ours_by_faiss, OURS["torch"]: ours_by_torch}
    return {**ours, FAISS: faiss_alone, MINI_BATCH: mini_batches, MINI_BATCH_WHOLE: whole}


def describe_setup(options: argparse.Namespace, frames: Tensor) -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    packages = ("torch", "faiss-cpu", "scikit-learn")
    return {
        **{package: importlib.metadata.version(package) for package in packages},
        # Of the minute before: beside other work, single rounds are off several times over.
        "load_before": os.getloadavg()[0],
        "frames": list(frames.shape),
        "made_up": options.frames is None,
        "attributes": options.attributes,
        "iterations": options.iterations,
        "threads": options.threads,
        "device": options.device,
        "repeats": options.repeats,
    }


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    setup = results["setup"]
    rows = {row["way"]: row for row in results["rows"]}
    faiss = rows[FAISS]
    heads = [
        "k-means",
        "time",
        "to faiss.Kmeans (≤ 1.00)",
        *(f"to {way} (< {MINI_BATCH_TARGET:.2f})" for way in (MINI_BATCH, MINI_BATCH_WHOLE)),
        "inertia a frame",
        f"to faiss.Kmeans (≤ {INERTIA_TARGET})",
    ]
    count, features = setup["frames"]
    lines = [
        f"{count:,} {'made-up ' if setup['made_up'] else ''}frames of {features} features, "
        f"{setup['attributes']} centroids, ours at most {setup['iterations']} iterations; "
        f"{setup['threads']} threads, torch backend on {setup['device']}; torch {setup['torch']}, "
        f"faiss {setup['faiss-cpu']}, scikit-learn {setup['scikit-learn']}; medians of "
        f"{setup['repeats']}; load before: {setup['load_before']:.1f}.",
        "",
        *table_head(heads),
    ]
    for name, row in rows.items():
        ratios = [(row["seconds"] / faiss["seconds"], lambda ratio: ratio <= 1.0)]
        for way in (MINI_BATCH, MINI_BATCH_WHOLE):
            ratio = row["seconds"] / rows[way]["seconds"]
            ratios.append((ratio, lambda ratio: ratio < MINI_BATCH_TARGET))
        ratios.append((row["inertia"] / faiss["inertia"], lambda ratio: ratio <= INERTIA_TARGET))
        judged = name in OURS.values()
        *times, closeness = [
            f"{ratio:.3f}" + (f" ({met(good(ratio))})" if judged else "") for ratio, good in ratios
        ]
        cells = [name, f"{row['seconds']:.2f} s", *times, f"{row['inertia']:.3f}", closeness]
        lines.append(table_line(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
