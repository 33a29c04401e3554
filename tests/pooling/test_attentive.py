# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.pooling import AttentiveAveragePooling


def pool_one_clip(pooler: AttentiveAveragePooling, clip: torch.Tensor) -> torch.Tensor:
    """The formula, written out head by head for one clip `[T, D]` without padding."""
    means = []
    for first, _, last in pooler.scorers:
        energies = [last.weight[0] @ torch.tanh(first.weight @ h + first.bias) for h in clip]
        total = sum(torch.exp(energy) for energy in energies)
        means.append(
            sum(torch.exp(energy) / total * h for energy, h in zip(energies, clip, strict=True))
        )
    return pooler.projection.weight @ torch.cat(means) + pooler.projection.bias


def test_equals_the_loop_over_single_clips_and_heads() -> None:
    torch.manual_seed(0)
    pooler = AttentiveAveragePooling(6, heads=3, attention_size=4, output_size=7)
    frames = 2 * torch.randn(3, 8, 6) + 1
    lengths = [8, 3, 1]
    padding_mask = torch.arange(8) >= torch.tensor(lengths)[:, None]
    vector = pooler(frames, padding_mask)
    for clip, length in enumerate(lengths):
        expected = pool_one_clip(pooler, frames[clip, :length])
        torch.testing.assert_close(vector[clip], expected, atol=1e-5, rtol=1e-5)


def test_each_head_listens_by_its_own_scorer() -> None:
    pooler = AttentiveAveragePooling(6, heads=3)
    frames, padding_mask = 3 * torch.randn(1, 8, 6), torch.zeros(1, 8, dtype=torch.bool)
    before = pooler.with_weights(frames, padding_mask)[1]
    with torch.no_grad():
        pooler.scorers[1][0].weight.mul_(-2)
    after = pooler.with_weights(frames, padding_mask)[1]
    changed = (before != after).any(dim=-1)[0]
    assert changed.tolist() == [False, True, False]


@pytest.mark.parametrize("option", ["heads", "attention_size", "output_size"])
def test_refuses_sizes_that_are_not_whole_and_positive(option: str) -> None:
    for size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f"{option} must be a whole number of at least 1"):
            AttentiveAveragePooling(6, **{option: size})  # type: ignore[arg-type]
