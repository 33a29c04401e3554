# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from voxadapt.adapters import kmeans
from voxadapt.adapters.kmeans import fit_kmeans, nearest, seed_centroids


def blobs(
    count: int = 600, centers: int = 8, size: int = 4, distance: float = 4.0, seed: int = 0
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    means = distance * torch.randn(centers, size, generator=generator)
    which = torch.randint(centers, (count,), generator=generator)
    return means[which] + torch.randn(count, size, generator=generator)


def brute_ids(frames: torch.Tensor, centroids: torch.Tensor) -> np.ndarray:
    difference = frames.double().numpy()[:, None] - centroids.double().numpy()[None]
    return np.square(difference).sum(axis=-1).argmin(axis=1)


def lloyd(frames: torch.Tensor, centroids: torch.Tensor, iterations: int) -> np.ndarray:
    found = centroids.double().numpy()
    for _ in range(iterations):
        ids = brute_ids(frames, torch.from_numpy(found))
        found = np.stack(
            [frames.double().numpy()[ids == row].mean(axis=0) for row in range(len(found))]
        )
    return found


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 256 frames, the fewest."""
    monkeypatch.setattr(kmeans, "SCORES", {"cpu": 1})


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_nearest_is_exact_also_far_from_zero(offset: float) -> None:
    frames, centroids = blobs(700, seed=1) + offset, blobs(12, seed=2) + offset
    centroids[7] = 1e5  # dead
    ids, distances = nearest(frames, centroids)
    assert ids.tolist() == brute_ids(frames, centroids).tolist()
    expected = (frames.double() - centroids.double()[ids]).square().sum(dim=1)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("iterations", [1, 3])
def test_iterations_are_lloyds(iterations: int) -> None:
    frames, start = blobs(), blobs(8, seed=0)
    before = start.clone()
    fit = fit_kmeans(frames, start, seed=0, iterations=iterations)
    np.testing.assert_allclose(fit.centroids, lloyd(frames, start, iterations), atol=1e-5)
    assert fit.reseeded == 0
    assert torch.equal(start, before)


def test_iterations_end_where_no_frame_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, start, calls = blobs(), blobs(8, seed=0), []
    assign = kmeans._assign_and_sum
    monkeypatch.setattr(
        kmeans, "_assign_and_sum", lambda *arguments: calls.append(0) or assign(*arguments)
    )
    fit = fit_kmeans(frames, start, seed=0, iterations=300)
    assert 2 < len(calls) < 100
    np.testing.assert_allclose(fit.centroids, lloyd(frames, start, len(calls)), atol=1e-5)
    assert torch.equal(fit_kmeans(frames, fit.centroids, seed=0).centroids, fit.centroids)


def test_a_centroid_without_frames_takes_half_of_the_widest_cluster() -> None:
    # 500 copies of one frame are the largest cluster by count, and cannot be split.
    frames = torch.cat([torch.full((500, 2), 9.0), blobs(300, 2, 2, distance=0.0), blobs(4, 1, 2)])
    start = torch.tensor([[9.0, 9.0], [1e3, 1e3], [0.0, 0.0], [2e3, 0.0]])
    fit = fit_kmeans(frames, start, seed=0, iterations=30)
    assert fit.reseeded == 2
    assert fit.centroids[0].tolist() == [9.0, 9.0]
    counts = torch.bincount(nearest(frames, fit.centroids)[0], minlength=4)
    assert counts[0] == 500
    assert counts.min() > 50


def test_two_centroids_without_frames_split_two_clusters_of_about_one_width() -> None:
    here = blobs(300, 1, 2, distance=0.0)
    frames = torch.cat([here, 1.05 * here + 100.0])
    start = torch.tensor([[0.0, 0.0], [100.0, 100.0], [1e4, 0.0], [0.0, 1e4]])
    fit = fit_kmeans(frames, start, seed=0, iterations=1)
    assert fit.reseeded == 2
    assert (fit.centroids[:, 0] > 50.0).sum() == 2


def test_the_seed_alone_decides_how_clusters_are_split() -> None:
    frames, start = blobs(distance=0.5), torch.full((8, 4), 1e3)
    start[0] = 0.0
    fits = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(fits))
        fits.append(fit_kmeans(frames, start, seed=seed, iterations=2).centroids)
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


def test_copies_of_one_frame_cannot_be_split() -> None:
    fit = fit_kmeans(torch.full((300, 3), 0.1), torch.tensor([[1.0], [2.0]]).repeat(1, 3), seed=0)
    torch.testing.assert_close(fit.centroids, torch.tensor([[0.1] * 3, [2.0] * 3]))
    assert fit.reseeded == 0


def test_first_centroids_are_frames_spread_over_the_clusters() -> None:
    frames = torch.cat([blobs(50, 1) + 100 * number for number in range(6)])
    start = seed_centroids(frames, 6, seed=0)
    assert all((frames == centroid).all(dim=1).any() for centroid in start)
    assert sorted((start[:, 0] / 100).round().int().tolist()) == [0, 1, 2, 3, 4, 5]
    torch.manual_seed(3)
    assert torch.equal(seed_centroids(frames, 6, seed=0), start)
    assert not torch.equal(seed_centroids(frames, 6, seed=1), start)


def test_first_centroids_of_many_frames_come_from_a_sample_of_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames, sizes = torch.arange(4000.0)[:, None], []
    draw = kmeans._draw
    monkeypatch.setattr(
        kmeans, "_draw", lambda weights, at: sizes.append(len(weights)) or draw(weights, at)
    )
    start = seed_centroids(frames, 8, seed=0)
    assert set(sizes) == {8 * kmeans.SEEDING_FRAMES}
    assert len(start.unique()) == 8
    assert start.max() - start.min() > 2000


def test_more_centroids_than_different_frames() -> None:
    frames = torch.tensor([[0.0], [1.0], [2.0]]).repeat(20, 1)
    start = seed_centroids(frames, 8, seed=0)
    assert sorted(set(start.flatten().tolist())) == [0.0, 1.0, 2.0]
    fit = fit_kmeans(frames, start, seed=0)
    assert torch.isfinite(fit.centroids).all()
    assert float(nearest(frames, fit.centroids)[1].max()) < 1e-9
