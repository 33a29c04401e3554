# SPDX-License-Identifier: Apache-2.0
"""Which clips form a batch: a pure function of the lengths, the seed and the epoch."""

from collections.abc import Sequence

import numpy as np

LENGTH_JITTER = 0.1
"""A training epoch sorts by length × uniform(1 ± this): neighbours change from epoch to epoch, at
the price of about as much more padding. Our choice."""
# No corpus is as long, and NumPy's integers end soon above it.
_NO_BUDGET = 2**62


def padded_budget(seconds: float, rate: float) -> int:
    """How much a batch of so many seconds may cost: its padded frames or samples, at least 1.

    Args:
        seconds: Seconds of audio that a batch holds, padding included.
        rate: Frames or samples a second.
    """
    return max(1, round(min(seconds * rate, _NO_BUDGET)))


def plan_batches(
    lengths: Sequence[int] | np.ndarray,
    budget: int,
    *,
    seed: int | None,
    epoch: int = 0,
) -> list[list[int]]:
    """Group clips of similar length into batches that fit a budget of padded length.

    The plan knows nothing of processes: each takes its share of every batch (`share_batch`), so
    that their number cannot change what a step trains on.

    Args:
        lengths: One positive integer a clip: frames, or samples.
        budget: The most that a batch may cost, in the unit of `lengths`. The cost is the longest
            clip times the number of clips. A clip longer than the budget gets a batch of its own.
        seed: With a seed (0 or more), members and order are drawn from (`seed`, `epoch`). With
            `None` nothing is random: longest first, so that a budget too large for the memory fails
            on the first batch and not on the last.
        epoch: The epoch, from 0; unused without a seed.

    Returns:
        Batches of indices into `lengths`; every index exactly once.

    Raises:
        ValueError: If a length or the budget is not positive, `lengths` is not one row of integers,
            or seed or epoch are negative.
    """
    sizes = _checked_lengths(lengths)
    if budget < 1:
        raise ValueError(f"budget is {budget}; give the padded frames of a batch, 1 or more.")
    if seed is None:
        # The stable sort keeps clips of equal length in their given order.
        return _fill(np.argsort(-sizes, kind="stable"), sizes, budget)
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed is {seed} and epoch {epoch}; both must be 0 or more.")
    random = np.random.default_rng([seed, epoch])
    jitter = random.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, size=len(sizes))
    batches = _fill(np.argsort(-sizes * jitter, kind="stable"), sizes, budget)
    return [batches[position] for position in random.permutation(len(batches))]


def plan_mixed_batches(
    lengths: Sequence[int] | np.ndarray, budget: int, *, seed: int, epoch: int = 0
) -> list[list[int]]:
    """Group clips at random into batches that hold a budget of real length.

    Where statistics are taken over a batch, as self-distillation does, a batch of alike lengths is
    a batch of one corpus or one kind of clip, and the statistics follow it. Here every batch is a
    sample of the whole; padding is saved later, when a process deals its share out over forward
    passes of alike lengths.

    Args:
        lengths: One positive integer a clip: frames, or samples.
        budget: The length of a batch without padding, in the unit of `lengths`; the last clip may
            go over it.
        seed: Members and order are drawn from (`seed`, `epoch`).
        epoch: The epoch, from 0.

    Returns:
        Batches of indices into `lengths`; every index exactly once.

    Raises:
        ValueError: As `plan_batches`.
    """
    sizes = _checked_lengths(lengths)
    if budget < 1 or seed < 0 or epoch < 0:
        raise ValueError(
            f"budget is {budget}, seed {seed} and epoch {epoch}; the budget must be 1 or more, "
            "seed and epoch 0 or more."
        )
    order = np.random.default_rng([seed, epoch]).permutation(len(sizes))
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]]) if len(order) else order
    starts = np.flatnonzero(np.diff(before // budget, prepend=-1))
    return [batch.tolist() for batch in np.split(order, starts[1:])] if len(order) else []


def share_batch(batch: list[int], rank: int, world: int) -> tuple[list[int], bool]:
    """Return one process's part of a batch, which is never empty.

    Args:
        batch: The clips of the batch; not empty.
        rank: This process, from 0.
        world: The number of processes.

    Returns:
        The clips, and whether they are a filler. Where the batch has fewer clips than there are
        processes, the ones left over get its first clip, so that every process runs the same
        forward and backward pass (collective calls would wait for ever otherwise). **Give a
        filler's loss and metrics the weight 0.**

    Raises:
        ValueError: If the batch is empty, or the rank is outside of 0..world-1.
    """
    if not batch:
        raise ValueError("the batch is empty; plan_batches makes no empty batch.")
    if not 0 <= rank < world:
        raise ValueError(f"rank is {rank} of {world} processes; it must be in 0..{world - 1}.")
    share = batch[rank::world]
    return (share, False) if share else ([batch[0]], True)


def _checked_lengths(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the lengths as int64 [clips]."""
    sizes = np.asarray(lengths)
    if sizes.size == 0:
        return np.zeros(0, dtype=np.int64)
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer):
        raise ValueError(
            f"lengths are {sizes.dtype} of shape {list(sizes.shape)}; "
            "give one integer a clip (frames or samples)."
        )
    if sizes.min() < 1:
        first = int(np.argmax(sizes < 1))
        raise ValueError(
            f"the length of clip {first} is {sizes[first]}; every clip needs 1 frame or more."
        )
    return sizes.astype(np.int64)


def _fill(order: np.ndarray, sizes: np.ndarray, budget: int) -> list[list[int]]:
    """Fill batches in the given order, closing one as soon as the next clip would not fit."""
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    # Plain integers: a loop over numpy scalars is several times slower.
    for index, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        longest_with = max(longest, size)
        if batch and longest_with * (len(batch) + 1) > budget:
            batches.append(batch)
            batch, longest_with = [], size
        batch.append(index)
        longest = longest_with
    if batch:
        batches.append(batch)
    return batches
