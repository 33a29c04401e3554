# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.adapters.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.99])
def test_share_mean_and_scale(probability: float) -> None:
    torch.manual_seed(0)
    outputs = dropout(torch.ones(1000, 1001), probability, True)
    kept = outputs != 0
    spread = (probability * (1 - probability) / outputs.numel()) ** 0.5
    assert float(kept.float().mean()) == pytest.approx(1 - probability, abs=4 * spread + 2**-16)
    scales = outputs[kept].unique()
    assert scales.tolist() == pytest.approx([1 / (1 - probability)], rel=1e-3)
    assert float(outputs.mean()) == pytest.approx(1, abs=4 * spread / (1 - probability))


def test_elements_are_independent() -> None:
    """Each of the four that one draw decides on has its own probability and its own fate."""
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(100_000, 4), 0.3, True) == 0).double()
    assert dropped.mean(dim=0).tolist() == pytest.approx([0.3] * 4, abs=0.006)
    assert dropped.T.corrcoef().fill_diagonal_(0).abs().max() < 0.012
    rows = dropped.flatten()
    assert abs(torch.stack([rows[:-4], rows[4:]]).corrcoef()[0, 1]) < 0.012


def test_gradients_are_dropped_and_scaled_alike() -> None:
    inputs = torch.randn(7, 11, requires_grad=True)
    outputs = dropout(inputs, 0.4, True)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad * inputs, outputs)
    assert 0 < (inputs.grad == 0).sum() < 77


def test_the_seed_decides() -> None:
    inputs, drawn = torch.ones(33, 5), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append((dropout(inputs, 0.5, True), dropout(inputs, 0.5, True)))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][0], drawn[2][0])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_nothing_is_done_or_drawn_where_nothing_is_dropped() -> None:
    inputs = torch.randn(5, 3)
    state = torch.get_rng_state()
    assert dropout(inputs, 0.5, False) is inputs
    assert dropout(inputs, 0.0, True) is inputs
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("probability", [1e-9, 0.999_999])
def test_the_ends_of_the_range_stay_finite(probability: float) -> None:
    outputs = dropout(torch.ones(1000), probability, True)
    assert torch.isfinite(outputs).all()
    if probability < 0.5:
        assert torch.equal(outputs, torch.ones(1000))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_types_and_shapes_stay(dtype: torch.dtype) -> None:
    for shape in ((0, 3), (), (1,), (3, 5), (2, 2, 3)):
        outputs = dropout(torch.ones(shape, dtype=dtype), 0.5, True)
        assert outputs.dtype == dtype
        assert outputs.shape == shape
    transposed = torch.randn(5, 3).T
    outputs = dropout(transposed, 0.5, True)
    kept = outputs != 0
    torch.testing.assert_close(outputs[kept], 2 * transposed[kept])


def test_torch_compile_and_vmap_have_torchs_own() -> None:
    torch.manual_seed(0)
    compiled = torch.compile(dropout, backend="eager", fullgraph=True)
    assert 300 < (compiled(torch.ones(1000), 0.5, True) == 0).sum() < 700
    mapped = torch.vmap(lambda row: dropout(row, 0.5, True), randomness="different")
    assert 300 < (mapped(torch.ones(10, 100)) == 0).sum() < 700
