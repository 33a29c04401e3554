# SPDX-License-Identifier: Apache-2.0
"""Mixtures depend on the clip, the seed and the epoch, and on nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.recipes.finetuning.mixup import Mixture, mix_batch
from voxadapt.recipes.running.frame_batches import FrameBatch, load_batch

LENGTHS = [6, 9, 4, 12, 1]
CPU = torch.device("cpu")


def mix(store: Any, indices: list[int], **changes: Any) -> tuple[FrameBatch, Mixture]:
    batch = load_batch(store, indices, device=CPU)
    options: dict[str, Any] = {"alpha": 0.4, "seed": 0, **changes}
    options["turns"] = [options.pop("turn", 0)] * len(indices)
    ids = [f"clip-{index}" for index in indices]
    return batch, mix_batch(batch, store, ids, [0, 1, 2, 3, 4], **options)


@pytest.fixture
def store(make_store: Callable[..., Any]) -> Any:
    return make_store(LENGTHS)


def test_neither_the_batch_nor_its_padding_changes_a_mixture(store: Any) -> None:
    together, mixture = mix(store, [3, 0, 4, 2])
    for row, index in enumerate([3, 0, 4, 2]):
        alone, single = mix(store, [index])
        assert torch.equal(alone.frames[0], together.frames[row, : LENGTHS[index]])
        assert (single.partners[0], single.shares[0]) == (
            mixture.partners[row],
            mixture.shares[row],
        )
    assert (together.frames[together.padding_mask] == 0).all()


def test_frames_are_the_clip_s_and_its_partner_s_in_their_shares(store: Any) -> None:
    mixed = [mix(store, [0, 1, 2, 3, 4], turn=turn) for turn in range(5)]
    rows = [(batch, mixture, row) for batch, mixture in mixed for row in range(5)]
    starts = []
    for batch, mixture, row in rows:
        partner = mixture.partners[row]
        own = torch.from_numpy(store.frames(row).astype(np.float32))
        other = torch.from_numpy(store.frames(partner).astype(np.float32))
        share = float(mixture.shares[row])
        assert 0.5 <= share <= 1
        candidates = [
            share * own + (1 - share) * other[(start + torch.arange(len(own))) % len(other)]
            for start in range(len(other))
        ]
        found = batch.frames[row, : len(own)]
        fits = [torch.allclose(found, one, atol=1e-5) for one in candidates]
        assert any(fits)
        starts.append((len(own), len(other), fits.index(True)))
    assert any(own > other for own, other, _ in starts)  # begun again
    assert any(start + own <= other and start for own, other, start in starts)  # a part


def test_the_draw_is_anew_each_turn_and_from_the_training_part_only(store: Any) -> None:
    first, again, later, other = (
        mix(store, [0, 1, 2, 3], **changes)[1] for changes in ({}, {}, {"turn": 1}, {"seed": 1})
    )
    assert torch.equal(first.shares, again.shares)
    assert not torch.equal(first.shares, later.shares)
    assert not torch.equal(first.shares, other.shares)
    batch = load_batch(store, [0, 1], device=CPU)
    partners = {
        partner
        for turn in range(30)
        for partner in mix_batch(
            batch, store, ["a", "b"], [2, 4], alpha=1.0, seed=0, turns=[turn, turn]
        ).partners
    }
    assert partners == {2, 4}


def test_alpha_says_how_much_is_mixed(store: Any) -> None:
    means = [
        np.mean([mix(store, [0, 1], alpha=alpha, turn=turn)[1].shares.mean() for turn in range(50)])
        for alpha in (0.05, 1.0, 50.0)
    ]
    assert means[0] > 0.95
    assert means[1] == pytest.approx(0.75, abs=0.05)
    assert means[2] == pytest.approx(0.53, abs=0.02)
