# SPDX-License-Identifier: Apache-2.0
"""Local attributes: a k-means codebook over frames (arXiv 2509.23795, section 2.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


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
            scores = torch.addmm(
                self.centroids.square().sum(dim=1), frames.float(), self.centroids.T, alpha=-2.0
            )
        return scores.argmin(dim=1)


@dataclass(frozen=True)
class CodebookFit:
    """What a fit of the codebook gave.

    Attributes:
        centroids: ``[K, D]`` float32.
        inertia: Mean squared distance of a frame to its centroid.
        perplexity: exp(entropy) of the use of the K ids over the fitted frames, 1 to K.
        kept: Share of the fitted frames whose id is the one that the initial centroids give; None
            without initial centroids.
    """

    centroids: Tensor
    inertia: float
    perplexity: float
    kept: float | None


def fit_codebook(
    frames: Tensor,
    attributes: int,
    *,
    seed: int,
    initial: Tensor | None = None,
    iterations: int = 20,
) -> CodebookFit:
    """Fit centroids by k-means++ (faiss) on every frame given, without silent subsampling.

    Started from ``initial`` (the last centroids), ids keep their meaning as the teacher moves. A
    cluster that runs empty is re-seeded by faiss from a large one.

    Args:
        frames: ``[N, D]`` float.
        attributes: Centroids ``K``.
        seed: Seed of the first centroids.
        initial: ``[K, D]`` float to start from.
        iterations: Lloyd iterations.

    Raises:
        ValueError: Fewer frames than centroids, a frame that is not finite, or ``initial`` of
            another shape.
        ImportError: faiss is not installed.
    """
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
    try:
        import faiss
    except ImportError as error:
        raise ImportError("fitting a codebook needs faiss: pip install faiss-cpu") from error

    samples = frames.detach().float().cpu().contiguous().numpy()
    kmeans = faiss.Kmeans(
        samples.shape[1],
        attributes,
        niter=iterations,
        seed=seed % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(samples),
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
    )
    start = None if initial is None else initial.detach().float().cpu().contiguous().numpy()
    kmeans.train(samples, init_centroids=start)
    fitted = Codebook(attributes, samples.shape[1])
    fitted.centroids.copy_(torch.from_numpy(kmeans.centroids))
    ids = fitted(torch.from_numpy(samples))
    distances = (torch.from_numpy(samples) - fitted.centroids[ids]).square().sum(dim=1)
    kept = None
    if initial is not None:
        before = Codebook(attributes, samples.shape[1])
        before.centroids.copy_(initial)
        kept = float((before(torch.from_numpy(samples)) == ids).float().mean())
    return CodebookFit(
        centroids=fitted.centroids,
        inertia=float(distances.mean()),
        perplexity=perplexity(torch.bincount(ids, minlength=attributes)),
        kept=kept,
    )


def perplexity(counts: Tensor) -> float:
    """exp(entropy) of a histogram ``[K]``: how many ids are in use, as it were."""
    counts = counts.cpu().double()  # not every accelerator has float64
    shares = counts / counts.sum().clamp(min=1)
    return float(torch.special.entr(shares).sum().exp())
