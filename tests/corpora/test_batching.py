# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from voxadapt.recipes.corpora.batching import (
    padded_budget,
    plan_batches,
    plan_mixed_batches,
    share_batch,
)


def random_lengths(count=500, seed=0):
    return np.random.default_rng(seed).integers(10, 400, size=count)


def as_sets(batches):
    return {frozenset(batch) for batch in batches}


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("budget", [1, 400, 3_000, 10**9])
def test_every_index_once_and_budget_held(seed, budget):
    lengths = random_lengths()
    batches = plan_batches(lengths, budget, seed=seed, epoch=3)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[batch]) * len(batch) <= budget


def test_a_budget_is_whole_frames_and_never_none():
    assert padded_budget(60.0, 50.0) == 3_000
    assert padded_budget(0.25, 49.9) == 12
    assert padded_budget(0.001, 50.0) == 1
    most = padded_budget(1e308, 16_000.0)
    assert plan_batches([50, 40], most, seed=None) == [[0, 1]]
    assert len(plan_mixed_batches([50, 40], most, seed=0)) == 1


def test_batches_are_filled():
    # 8 clips of 100 frames fill a budget of 400 twice: not one batch more.
    assert [len(batch) for batch in plan_batches([100] * 8, 400, seed=5)] == [4, 4]


def test_clip_over_budget_stands_alone():
    batches = plan_batches([50, 1_000, 50], 200, seed=0)
    assert as_sets(batches) == {frozenset({1}), frozenset({0, 2})}


def test_evaluation_is_longest_first_and_stable():
    assert plan_batches([5, 9, 5, 7], 14, seed=None) == [[1], [3, 0], [2]]


def test_pure_function_of_seed_and_epoch():
    lengths = random_lengths()
    first = plan_batches(lengths, 3_000, seed=4, epoch=2)
    np.random.seed(1)  # the global state must not matter
    assert plan_batches(lengths.tolist(), 3_000, seed=4, epoch=2) == first


def test_epochs_and_seeds_differ_in_members_and_order():
    lengths = random_lengths()
    plans = [
        plan_batches(lengths, 3_000, seed=seed, epoch=epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for one, other in itertools.combinations(plans, 2):
        assert len(as_sets(one) & as_sets(other)) < len(one) / 4
    # Long and short batches come mixed, not from one end to the other.
    longest = [max(lengths[batch]) for batch in plans[0]]
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.5


def test_little_is_spent_on_padding():
    lengths = random_lengths(5_000)
    batches = plan_batches(lengths, 6_000, seed=0)
    padded = sum(max(lengths[batch]) * len(batch) for batch in batches)
    assert padded / lengths.sum() < 1.15  # unsorted batches would cost about twice the frames


def test_no_clips_no_batches():
    assert plan_batches([], 100, seed=0) == []


@pytest.mark.parametrize(
    ("lengths", "budget", "options", "message"),
    [
        ([3, 0], 10, {"seed": 0}, "clip 1 is 0"),
        ([3], 0, {"seed": 0}, "budget is 0"),
        ([[3]], 10, {"seed": 0}, "one integer a clip"),
        ([3.5], 10, {"seed": 0}, "float64"),
        ([3], 10, {"seed": -1}, "seed is -1"),
        ([3], 10, {"seed": 1, "epoch": -2}, "epoch -2"),
    ],
)
def test_wrong_arguments(lengths, budget, options, message):
    with pytest.raises(ValueError, match=message):
        plan_batches(lengths, budget, **options)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_shares_cover_the_batch_once(world):
    batch = [7, 3, 9, 4, 1]
    shares = [share_batch(batch, rank, world) for rank in range(world)]
    real = [index for share, filler in shares if not filler for index in share]
    assert sorted(real) == sorted(batch)
    assert all(share for share, _ in shares)
    assert [share for share, filler in shares if filler] == [[7]] * max(0, world - 5)


def test_one_process_keeps_the_order():
    assert share_batch([7, 3, 9], 0, 1) == ([7, 3, 9], False)


def test_share_of_wrong_arguments():
    with pytest.raises(ValueError, match="empty"):
        share_batch([], 0, 1)
    with pytest.raises(ValueError, match=r"rank is 2 of 2"):
        share_batch([1], 2, 2)


def test_mixed_batches_take_every_clip_once_and_hold_their_budget() -> None:
    lengths = np.random.default_rng(5).integers(10, 300, size=701)
    batches = plan_mixed_batches(lengths, 3000, seed=3, epoch=1)
    assert sorted(index for batch in batches for index in batch) == list(range(701))
    totals = [int(lengths[batch].sum()) for batch in batches]
    assert all(2700 <= total <= 3300 for total in totals[:-1])


def test_mixed_batches_are_a_function_of_seed_and_epoch() -> None:
    lengths = list(range(1, 200))
    assert plan_mixed_batches(lengths, 500, seed=1) == plan_mixed_batches(lengths, 500, seed=1)
    assert plan_mixed_batches(lengths, 500, seed=1) != plan_mixed_batches(lengths, 500, seed=2)
    first = plan_mixed_batches(lengths, 500, seed=1, epoch=0)
    assert first != plan_mixed_batches(lengths, 500, seed=1, epoch=1)


def test_mixed_batches_mix_lengths() -> None:
    lengths = np.array([10] * 500 + [100] * 500)
    for batch in plan_mixed_batches(lengths, 2000, seed=0)[:-1]:
        assert {10, 100} <= set(lengths[batch].tolist())


def test_mixed_batches_of_clips_over_the_budget() -> None:
    assert sorted(plan_mixed_batches([50, 50, 50], 10, seed=0)) == [[0], [1], [2]]
    assert plan_mixed_batches([], 10, seed=0) == []


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"seed": -1}, {"epoch": -1}])
def test_mixed_batches_refuse_wrong_arguments(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        plan_mixed_batches([5], **{"budget": 10, "seed": 0, **wrong})
