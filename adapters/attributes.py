# SPDX-License-Identifier: Apache-2.0
"""Local attributes: a k-means codebook over frames (arXiv 2509.23795, section 2.3)."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .kmeans import KMeansFit, fit_kmeans, nearest, seed_centroids


class Codebook(nn.Module):
    """K centroids; the id of the nearest one is a frame's local attribute.

    Args:
        attributes: Centroids ``K``.
        feature_size: Features ``D`` of the frames that are clustered.
    """

    centroids: Tensor

    def __init__(self, attributes: int, feature_size: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(attributes, feature_size))

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Give each frame the id of its nearest centroid (Euclidean; ties to the lower id).

        Args:
            frames: ``[N, D]`` float.

        Returns:
            ``[N]`` int64 in ``0..K-1``.
        """
        # In half precision, near ties would go to the wrong centroid.
        with torch.autocast(frames.device.type, enabled=False):
            # |x - c|² = |x|² - 2 x·c + |c|², and |x|² is the same for every centroid.
            centroids = self.centroids.float()
            scores = torch.addmm(
                centroids.square().sum(dim=1), frames.float(), centroids.T, alpha=-2.0
            )
        return scores.argmin(dim=1)


@dataclass(frozen=True)
class CodebookFit:
    """What a fit of the codebook gave.

    Attributes:
        centroids: ``[K, D]`` float32, on the CPU.
        inertia: Mean squared distance of a frame to its centroid.
        perplexity: exp(entropy) of the use of the K ids over the fitted frames, 1 to K.
        reseeded: How many times a centroid that had lost all its frames was moved to others: its id
            then has a new meaning.
        kept: Share of the fitted frames whose id is the one that the initial centroids give; None
            without initial centroids.
    """

    centroids: Tensor
    inertia: float
    perplexity: float
    reseeded: int
    kept: float | None


def fit_codebook(
    frames: Tensor,
    attributes: int,
    *,
    seed: int,
    initial: Tensor | None = None,
    iterations: int = 20,
    backend: Literal["faiss", "torch"] = "faiss",
) -> CodebookFit:
    """Fit centroids by k-means on every frame given, without silent subsampling.

    Started from ``initial`` (the last centroids), ids keep their meaning as the teacher moves;
    otherwise from a k-means++ draw, the same for both backends. A cluster that runs empty is
    re-seeded from a large one. Ids, inertia and the share that is kept are exact in float32.

    Args:
        frames: ``[N, D]`` float.
        attributes: Centroids ``K``.
        seed: Seed of the first centroids, and of re-seeding.
        initial: ``[K, D]`` float to start from.
        iterations: The most Lloyd iterations.
        backend: ``faiss`` computes on the CPU, ``torch`` where the frames are.

    Raises:
        ValueError: Frames of another shape, no centroids or more than frames, a frame that is not
            finite, ``initial`` of another shape, or an unknown backend.
        ImportError: faiss is asked for and not installed.
    """
    _check_fit(frames, attributes, initial, backend)
    samples = frames.detach().float().contiguous()
    if backend == "faiss":
        samples = samples.cpu()
    start = seed_centroids(samples, attributes, seed=seed) if initial is None else initial
    start = start.detach().to(samples)
    if backend == "faiss":
        fit = _fit_by_faiss(samples, start, seed, iterations)
    else:
        fit = fit_kmeans(samples, start, seed=seed, iterations=iterations)
    ids, distances = nearest(samples, fit.centroids)
    kept = None
    if initial is not None:
        kept = float((nearest(samples, start)[0] == ids).float().mean())
    return CodebookFit(
        centroids=fit.centroids.cpu(),
        inertia=float(distances.mean()),
        perplexity=perplexity(torch.bincount(ids, minlength=attributes)),
        reseeded=fit.reseeded,
        kept=kept,
    )


def _check_fit(frames: Tensor, attributes: int, initial: Tensor | None, backend: str) -> None:
    if frames.ndim != 2:
        raise ValueError(f"frames: found shape {tuple(frames.shape)}, expected [N, D]")
    if attributes < 1:
        raise ValueError(f"attributes: found {attributes}, must be 1 or more")
    if len(frames) < attributes:
        raise ValueError(
            f"frames: found {len(frames)}, at least as many as attributes ({attributes}) are "
            "needed; give more audio or ask for fewer attributes"
        )
    if not bool(torch.isfinite(frames).all()):
        raise ValueError("frames: a value is not finite; check the features or the teacher")
    if initial is not None and initial.shape != (attributes, frames.shape[1]):
        raise ValueError(
            f"initial: found shape {tuple(initial.shape)}, expected "
            f"{(attributes, frames.shape[1])}: the last centroids of the same kind of frames"
        )
    if backend not in ("faiss", "torch"):
        raise ValueError(f"backend: found {backend!r}, allowed: 'faiss', 'torch'")


def _fit_by_faiss(frames: Tensor, initial: Tensor, seed: int, iterations: int) -> KMeansFit:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "fitting a codebook by faiss needs it: pip install faiss-cpu, or take the torch backend"
        ) from error
    kmeans = faiss.Kmeans(
        frames.shape[1],
        len(initial),
        niter=iterations,
        seed=seed % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(frames),  # faiss would otherwise take a sample
    )
    kmeans.train(frames.numpy(), init_centroids=initial.numpy())
    iterations_done: list[dict[str, Any]] = kmeans.iteration_stats or []
    reseeded = [int(iteration["nsplit"]) for iteration in iterations_done]
    return KMeansFit(torch.from_numpy(kmeans.centroids), sum(reseeded))


def perplexity(counts: Tensor) -> float:
    """exp(entropy) of a histogram ``[K]``: how many ids are in use, as it were."""
    counts = counts.cpu().double()  # not every accelerator has float64
    shares = counts / counts.sum().clamp(min=1)
    return float(torch.special.entr(shares).sum().exp())
