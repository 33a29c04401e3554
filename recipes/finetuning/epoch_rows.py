# SPDX-License-Identifier: Apache-2.0
"""Which clips an epoch trains on: all of them, or every class alike often."""

import numpy as np

from voxadapt.recipes.corpora.seeding import stable_seed


def draw_balanced(classes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw as many clips as there are, every class alike often.

    Each class gets an equal share of the places; what an even division leaves over goes to classes
    drawn anew each epoch. Within a class clips are taken in turn, in an order drawn anew each
    epoch: none comes twice more often than another.

    The draw depends on its arguments alone, and so neither on the number of processes nor on where
    a run was stopped.

    Args:
        classes: ``[N]`` int, class of each clip.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        ``[N]`` int64 rows of ``classes``, ascending, some of them several times.
    """
    random = np.random.default_rng(stable_seed(seed, "sampling", epoch))
    present = np.unique(classes)
    places = np.full(len(present), len(classes) // len(present))
    places[random.permutation(len(present))[: len(classes) % len(present)]] += 1
    drawn = []
    for number, count in zip(present, places.tolist(), strict=True):
        rows = random.permutation(np.flatnonzero(classes == number))
        drawn.append(np.resize(rows, count))  # repeats them in turn
    return np.sort(np.concatenate(drawn))
