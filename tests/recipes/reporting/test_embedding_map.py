# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from voxadapt.recipes.reporting.embedding_map import place_in_plane


def groups(count: int, features: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around three far-apart centres, and whose each is."""
    random = np.random.default_rng(seed)
    whose = np.arange(count) % 3
    centres = 10 * random.standard_normal((3, features))
    return centres[whose] + random.standard_normal((count, features)), whose


@pytest.mark.parametrize(("count", "method"), [(12, "principal components"), (60, "t-SNE")])
def test_neighbours_are_of_the_same_group(count: int, method: str) -> None:
    vectors, whose = groups(count)
    places, told = place_in_plane(vectors, seed=0)
    assert told.startswith(method)
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (whose[distances.argmin(axis=1)] == whose).mean() > 0.95
    np.testing.assert_allclose(places.min(axis=0), 0)
    np.testing.assert_allclose(places.max(axis=0), 1)


def test_the_same_seed_gives_the_same_map() -> None:
    vectors, _ = groups(40)
    first, again, other = (place_in_plane(vectors, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(other).all()


@pytest.mark.parametrize("seed", [-1, 2**32, 5_000_000_000])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    vectors, _ = groups(40)
    places, method = place_in_plane(vectors, seed=seed)
    assert method.startswith("t-SNE")
    assert np.isfinite(places).all()


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((1, 5)),
        np.ones((30, 5)),
        np.repeat([[0.0, 1.0], [1.0, 0.0]], 15, axis=0),
        np.arange(25.0)[:, None],
        np.random.default_rng(0).standard_normal((2, 3)),
    ],
    ids=["one clip", "all alike", "two kinds", "one feature", "two clips"],
)
def test_what_cannot_be_spread_out_still_has_places(vectors: np.ndarray) -> None:
    places, told = place_in_plane(vectors, seed=0)
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()
    assert told
