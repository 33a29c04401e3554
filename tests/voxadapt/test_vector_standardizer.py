# SPDX-License-Identifier: Apache-2.0
"""Pooled vectors on one scale."""

import pytest
import torch

from voxadapt.vector_standardizer import LEAST_STD_SHARE, VectorStandardizer


def make_vectors(scales: list[float], count: int = 50) -> torch.Tensor:
    drawn = torch.randn(count, len(scales), generator=torch.Generator().manual_seed(0))
    return 3.0 + drawn * torch.tensor(scales)


def fitted(vectors: torch.Tensor) -> VectorStandardizer:
    standardizer = VectorStandardizer(vectors.shape[1])
    standardizer.fit(vectors)
    return standardizer


def test_features_get_zero_mean_and_unit_variance() -> None:
    vectors = make_vectors([1.0, 0.3, 2.0])
    standardized = fitted(vectors)(vectors)
    torch.testing.assert_close(standardized.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(standardized.std(dim=0, correction=0), torch.ones(3))


def test_with_a_common_scale_features_that_vary_more_go_on_doing_so() -> None:
    vectors = make_vectors([1.0, 0.3, 2.0])
    standardizer = VectorStandardizer(3)
    standardizer.fit(vectors, common_scale=True)
    standardized = standardizer(vectors)
    torch.testing.assert_close(standardized.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-5)
    spread, before = standardized.std(dim=0, correction=0), vectors.std(dim=0, correction=0)
    torch.testing.assert_close(spread / spread[0], before / before[0])
    torch.testing.assert_close(spread.square().mean(), torch.tensor(1.0))


def test_new_ones_pass_vectors_through() -> None:
    vectors = make_vectors([1.0, 0.3])
    assert torch.equal(VectorStandardizer(2)(vectors), vectors)


def test_features_that_hardly_differ_are_not_blown_up() -> None:
    vectors = make_vectors([1.0, 1.0, 1.0, 1e-4])
    vectors[:, 3] += 1000.0
    standardizer = fitted(vectors)
    least = LEAST_STD_SHARE * standardizer.std[:3].median()
    assert standardizer.std[3] == pytest.approx(float(least), rel=0.2)
    assert standardizer(vectors)[:, 3].abs().max() < 0.1


def test_a_single_vector_becomes_zero() -> None:
    vectors = make_vectors([1.0, 2.0], count=1)
    standardizer = fitted(vectors)
    assert torch.equal(standardizer.std, torch.ones(2))
    assert not standardizer(vectors).any()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.zeros(4, 3), r"found shape \[4, 3\], must be \[N, 2\]"),
        (torch.zeros(0, 2), r"found shape \[0, 2\]"),
        (torch.zeros(2), r"found shape \[2\]"),
        (torch.tensor([[1.0, float("nan")]]), "not finite"),
    ],
)
def test_other_vectors_are_refused(vectors: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorStandardizer(2).fit(vectors)


def test_folded_into_the_linear_layer_it_gives_the_same() -> None:
    vectors = make_vectors([1.0, 0.3, 2.0, 0.01])
    standardizer = fitted(vectors)
    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 3)
    expected = linear(standardizer(vectors))
    standardizer.fold_into(linear)
    torch.testing.assert_close(linear(vectors), expected, rtol=1e-4, atol=1e-4)
