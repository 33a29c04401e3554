# SPDX-License-Identifier: Apache-2.0
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from voxadapt.adapters import Codebook, CodebookFit, fit_codebook
from voxadapt.adapters.attributes import perplexity

BACKENDS = ("faiss", "torch")


def blobs(
    count: int = 2000, centers: int = 8, size: int = 4, distance: float = 1.0, seed: int = 0
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    means = distance * torch.randn(centers, size, generator=generator)
    which = torch.randint(centers, (count,), generator=generator)
    return means[which] + torch.randn(count, size, generator=generator)


def make_codebook(centroids: torch.Tensor) -> Codebook:
    codebook = Codebook(*centroids.shape)
    codebook.centroids.copy_(centroids)
    return codebook


def test_ids_are_those_of_the_nearest_centroids() -> None:
    frames = blobs(500, seed=1)
    codebook = make_codebook(blobs(12, seed=2))
    distances = np.linalg.norm(
        frames.double().numpy()[:, None] - codebook.centroids.double().numpy()[None], axis=-1
    )
    ids = codebook(frames)
    assert ids.dtype == torch.int64
    assert ids.tolist() == distances.argmin(axis=1).tolist()
    assert len(set(ids.tolist())) > 6
    assert codebook(frames[:0]).shape == (0,)


def test_ties_go_to_the_lower_id() -> None:
    codebook = make_codebook(torch.tensor([[5.0], [1.0], [-1.0], [1.0]]))
    assert codebook(torch.tensor([[0.0], [2.0], [-3.0]])).tolist() == [1, 1, 2]


def test_ids_are_the_same_in_mixed_precision() -> None:
    frames, codebook = blobs(2000, 8, 32, seed=1), make_codebook(blobs(64, 8, 32, seed=2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ids = codebook(frames)
    assert torch.equal(ids, codebook(frames))


def test_a_codebook_in_half_precision_computes_in_float32() -> None:
    frames, codebook = blobs(200, seed=1).half(), make_codebook(blobs(12, seed=2)).half()
    expected = make_codebook(codebook.centroids.float())(frames.float())
    assert torch.equal(codebook(frames), expected)


def test_codebook_is_saved_and_does_not_train() -> None:
    codebook = make_codebook(blobs(6, seed=0))
    other = Codebook(6, 4)
    other.load_state_dict(codebook.state_dict())
    assert torch.equal(other.centroids, codebook.centroids)
    assert not list(codebook.parameters())
    assert not codebook(torch.ones(1, 4, requires_grad=True)).requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("attributes", "size"), [(8, 4), (32, 16)])
def test_inertia_is_as_low_as_scikit_learns(attributes: int, size: int, backend: Any) -> None:
    frames = blobs(3000, attributes, size)
    for seed in range(3):
        fit = fit_codebook(frames, attributes, seed=seed, backend=backend)
        reference = KMeans(attributes, n_init=1, random_state=seed).fit(frames.numpy())
        assert fit.inertia < 1.05 * reference.inertia_ / len(frames)


@pytest.mark.parametrize("backend", BACKENDS)
def test_fit_describes_itself(backend: Any) -> None:
    frames = blobs()
    fit = fit_codebook(frames, 8, seed=0, backend=backend)
    assert isinstance(fit, CodebookFit)
    assert fit.centroids.shape == (8, 4)
    assert fit.centroids.dtype == torch.float32
    assert fit.kept is None
    assert fit.reseeded == 0
    ids = make_codebook(fit.centroids)(frames).numpy()
    distances = np.square(frames.numpy() - fit.centroids.numpy()[ids]).sum(axis=1)
    assert fit.inertia == pytest.approx(distances.mean(), rel=1e-5)
    shares = np.bincount(ids) / len(ids)
    assert fit.perplexity == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_frames_are_used(backend: Any) -> None:
    # Two clusters far apart: their centroids are the means of all 6,000 frames, where faiss by
    # default takes 256 a cluster.
    frames = blobs(6000, 1, 4)
    frames[:3000] += 50.0
    fit = fit_codebook(frames, 2, seed=0, backend=backend)
    expected = torch.stack([frames[3000:].mean(dim=0), frames[:3000].mean(dim=0)])
    order = fit.centroids[:, 0].argsort()
    torch.testing.assert_close(fit.centroids[order], expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_warm_start_at_convergence_keeps_every_id(backend: Any) -> None:
    frames = blobs()
    first = fit_codebook(frames, 8, seed=0, iterations=300, backend=backend)
    second = fit_codebook(frames, 8, seed=1, initial=first.centroids, backend=backend)
    assert second.kept == 1.0
    torch.testing.assert_close(second.centroids, first.centroids)
    shuffled = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    third = fit_codebook(frames, 8, seed=1, initial=first.centroids[shuffled], backend=backend)
    assert third.kept == 1.0
    torch.testing.assert_close(third.centroids, first.centroids[shuffled])


def test_warm_start_follows_frames_that_move() -> None:
    frames = blobs(distance=5.0)
    first = fit_codebook(frames, 8, seed=0, iterations=100)
    moved = fit_codebook(1.1 * frames + 0.2, 8, seed=1, initial=first.centroids)
    same = make_codebook(first.centroids)(frames) == make_codebook(moved.centroids)(
        1.1 * frames + 0.2
    )
    assert same.float().mean() > 0.95
    assert moved.kept is not None
    assert 0.5 < moved.kept <= 1.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_kept_is_the_share_of_ids_that_stay(backend: Any) -> None:
    # Two clusters whose initial centroids claim them unequally: 0 and 10 take {0, 1, 2} and {9}.
    frames = torch.tensor([[0.0], [1.0], [6.0], [9.0]])
    start = torch.tensor([[0.0], [13.0]])
    fit = fit_codebook(frames, 2, seed=0, initial=start, backend=backend)
    assert fit.centroids.tolist() == [[0.5], [7.5]]
    assert fit.kept == 0.75


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("copies", [1, 20])
def test_duplicates_and_empty_clusters_give_no_nan(copies: int, backend: Any) -> None:
    points = torch.tensor([[0.0, 1.0], [4.0, 4.0], [-3.0, 2.0]])
    frames = torch.cat([points.repeat(20, 1), points[:1].repeat(20 * copies, 1)])
    fit = fit_codebook(frames, 8, seed=0, backend=backend)
    assert torch.isfinite(fit.centroids).all()
    assert fit.inertia < 1e-4
    assert 1.0 < fit.perplexity < 8.0
    alike = fit_codebook(torch.ones(30, 2), 4, seed=0, backend=backend)
    assert torch.isfinite(alike.centroids).all()
    assert alike.perplexity == pytest.approx(1.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_copies_and_one_large_feature_leave_no_cluster_dead(backend: Any) -> None:
    # What makes k-means give nearly all frames one id (facebookresearch/faiss issue 3818).
    frames = torch.cat([torch.zeros(4000, 4), blobs(400, 6, 4, distance=5.0)])
    frames[:, 0] = 30.0 * frames[:, 0] + 500.0
    dead = torch.cat([torch.zeros(1, 4), torch.full((7, 4), 1e4)])
    for initial in (None, dead):
        fit = fit_codebook(frames, 8, seed=0, initial=initial, iterations=50, backend=backend)
        reference = KMeans(8, n_init=1, random_state=0).fit(frames.numpy())
        assert fit.inertia < 1.5 * reference.inertia_ / len(frames)
        ids = make_codebook(fit.centroids)(frames)
        assert len(set(ids.tolist())) == 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_clusters_are_seeded_again(backend: Any) -> None:
    initial = torch.full((8, 4), 1e3)
    initial[0] = 0.0
    fit = fit_codebook(blobs(), 8, seed=0, initial=initial, iterations=50, backend=backend)
    assert fit.reseeded >= 7
    assert torch.isfinite(fit.centroids).all()
    assert fit.centroids.abs().max() < 10
    assert fit.perplexity > 6


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_seed_alone_decides(backend: Any) -> None:
    frames = blobs()
    torch.manual_seed(1)
    first = fit_codebook(frames, 8, seed=2**40 + 5, backend=backend)
    torch.manual_seed(2)
    again = fit_codebook(frames, 8, seed=2**40 + 5, backend=backend)
    assert torch.equal(again.centroids, first.centroids)
    other = fit_codebook(frames, 8, seed=6, backend=backend)
    assert not torch.equal(other.centroids, first.centroids)


def test_frames_may_carry_a_gradient_and_any_layout() -> None:
    frames = blobs(100)
    odd = frames.T.contiguous().T.clone(memory_format=torch.preserve_format).requires_grad_()
    assert not odd.is_contiguous()
    expected = fit_codebook(frames, 4, seed=0).centroids
    assert torch.equal(fit_codebook(odd, 4, seed=0).centroids, expected)


def test_bad_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames: found 3, at least as many as attributes \(4\)"):
        fit_codebook(torch.zeros(3, 2), 4, seed=0)
    with pytest.raises(ValueError, match=r"frames: found shape \(20,\), expected \[N, D\]"):
        fit_codebook(torch.zeros(20), 4, seed=0)
    with pytest.raises(ValueError, match="attributes: found 0, must be 1 or more"):
        fit_codebook(blobs(20), 0, seed=0)
    for value in (float("nan"), float("inf")):
        frames = blobs(20)
        frames[3, 2] = value
        with pytest.raises(ValueError, match="frames: a value is not finite"):
            fit_codebook(frames, 4, seed=0)
    with pytest.raises(ValueError, match=r"initial: found shape \(3, 4\), expected \(4, 4\)"):
        fit_codebook(blobs(20), 4, seed=0, initial=torch.zeros(3, 4))
    other: Any = "sklearn"
    with pytest.raises(ValueError, match="backend: found 'sklearn', allowed: 'faiss', 'torch'"):
        fit_codebook(blobs(20), 4, seed=0, backend=other)


def test_missing_faiss_is_named_and_torch_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        fit_codebook(blobs(20), 4, seed=0)
    assert fit_codebook(blobs(20), 4, seed=0, backend="torch").centroids.shape == (4, 4)


def test_both_backends_start_alike_and_end_alike() -> None:
    frames = blobs(3000, 8, 16, distance=4.0)
    faiss, torchs = (fit_codebook(frames, 8, seed=0, backend=name) for name in BACKENDS)
    torch.testing.assert_close(faiss.centroids, torchs.centroids, atol=1e-4, rtol=1e-4)
    assert faiss.inertia == pytest.approx(torchs.inertia, rel=1e-5)


def test_perplexity() -> None:
    assert perplexity(torch.tensor([3, 3, 3, 3])) == pytest.approx(4.0)
    assert perplexity(torch.tensor([9, 0, 0])) == pytest.approx(1.0)
    assert perplexity(torch.tensor([0.5, 0.25, 0.25]) * 8) == pytest.approx(2**1.5)
    assert perplexity(torch.zeros(3)) == pytest.approx(1.0)
