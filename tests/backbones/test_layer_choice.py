# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.backbones import BackboneError
from voxadapt.backbones.layer_choice import choose_layer, combine, layer_outputs, layers_run


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (0, 0),
        (12, 12),
        ("7", 7),
        ("0", 0),
        ("last", "last"),
        ("mean", "mean"),
        ("weighted", "weighted"),
    ],
)
def test_allowed(layer, expected):
    assert choose_layer(layer, 12, "it") == expected


@pytest.mark.parametrize("layer", [13, -1, "13", "-1", "", "top", "Mean", 1.0, True, None])
def test_refused(layer):
    with pytest.raises(BackboneError, match=r"it has 12 layers: .* 12, 'last', 'mean' .*weighted"):
        choose_layer(layer, 12, "it")


@pytest.mark.parametrize(
    ("layer", "run", "outputs"),
    [(0, 0, 1), (5, 5, 1), (12, 12, 1), ("last", 12, 1), ("mean", 12, 1), ("weighted", 12, 13)],
)
def test_what_is_run_and_what_comes_out(layer, run, outputs):
    assert layers_run(layer, 12) == run
    assert layer_outputs(layer, 12) == outputs


def states():
    return [torch.full((1, 2, 3), value) for value in (1.0, 2.0, 6.0)]


def test_combine():
    def final(state):
        return state + 0.5

    assert combine(iter(states()), 2, final).unique().tolist() == [6.0]
    assert combine(iter(states()[:1]), 0, final).unique().tolist() == [1.0]
    assert combine(iter(states()), "last", final).unique().tolist() == [6.5]
    assert combine(iter(states()), "mean", final).unique().tolist() == [3.0]
    side_by_side = combine(iter(states()), "weighted", final)
    assert side_by_side.shape == (1, 2, 9)
    assert side_by_side[0, 0].tolist() == [1, 1, 1, 2, 2, 2, 6, 6, 6]


def test_a_mean_in_half_precision_is_summed_in_float32():
    many = [torch.tensor([[[256.0]]]), *[torch.tensor([[[1.0]]])] * 255]
    half = (state.bfloat16() for state in many)
    mean = combine(half, "mean", lambda state: state)
    assert mean.dtype == torch.bfloat16
    # In bfloat16 256 + 1 is 256, and the mean would be 1.0.
    assert mean.item() == pytest.approx(511 / 256, rel=0.01)


@pytest.mark.parametrize("layer", [40, "last", "mean"])
def test_earlier_layers_are_let_go(layer):
    """One layer's output after another: 40 of them must not pile up."""
    import weakref

    alive, most = weakref.WeakSet(), 0

    class Held(torch.Tensor):
        pass

    def produce():
        nonlocal most
        for _ in range(41):
            state = torch.ones(1).as_subclass(Held)
            alive.add(state)
            most = max(most, len(alive))
            yield state
            del state

    combine(produce(), layer, lambda state: state)
    assert most <= 4


@pytest.mark.parametrize("layer", ["mean", "weighted"])
def test_gradients_reach_every_layer(layer):
    given = [state.requires_grad_() for state in states()]
    combine(iter(given), layer, lambda state: state).sum().backward()
    assert all(bool((state.grad != 0).all()) for state in given)
