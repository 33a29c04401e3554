# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.pooling import StatisticalAttentivePooling


def pool_one_clip(pooler: StatisticalAttentivePooling, clip: torch.Tensor) -> torch.Tensor:
    """The paper's formula, written out for one clip `[T, D]` without padding."""
    first, _, last = pooler.scorer
    energies = [
        sum(
            last.weight[0, unit] * torch.tanh(first.weight[unit] @ frame + first.bias[unit])
            for unit in range(pooler.attention_size)
        )
        for frame in clip
    ]
    total = sum(torch.exp(energy) for energy in energies)
    weights = [torch.exp(energy) / total for energy in energies]
    mean = sum(weight * frame for weight, frame in zip(weights, clip, strict=True))
    variance = sum(
        weight * (frame - mean) ** 2 for weight, frame in zip(weights, clip, strict=True)
    )
    return torch.cat([mean, torch.sqrt(variance + pooler.eps)])


def test_equals_the_loop_over_single_clips() -> None:
    torch.manual_seed(0)
    pooler = StatisticalAttentivePooling(6, attention_size=4, eps=1e-3)
    frames = 2 * torch.randn(3, 8, 6) + 1
    lengths = [8, 3, 1]
    padding_mask = torch.arange(8) >= torch.tensor(lengths)[:, None]
    vector = pooler(frames, padding_mask)
    for clip, length in enumerate(lengths):
        expected = pool_one_clip(pooler, frames[clip, :length])
        torch.testing.assert_close(vector[clip], expected, atol=1e-5, rtol=1e-5)


def test_a_clip_without_variance_has_the_deviation_of_eps() -> None:
    pooler = StatisticalAttentivePooling(6, eps=0.04)
    vector = pooler(torch.full((1, 5, 6), 3.0), torch.zeros(1, 5, dtype=torch.bool))
    torch.testing.assert_close(vector, torch.tensor([[3.0] * 6 + [0.2] * 6]))


def test_a_small_deviation_around_a_large_mean_survives() -> None:
    """`E[h²] - μ²` in float32 would give 0 or NaN here."""
    wave = torch.tensor([1.0, -1.0]).repeat(50)
    frames = (1e4 + 0.5 * wave)[None, :, None].expand(1, 100, 3)
    pooler = StatisticalAttentivePooling(3)
    torch.nn.init.zeros_(pooler.scorer[2].weight)  # equal weights
    deviation = pooler(frames, torch.zeros(1, 100, dtype=torch.bool))[0, 3:]
    torch.testing.assert_close(deviation, torch.full((3,), 0.5), atol=1e-3, rtol=0)


def test_statistics_stay_in_float32_under_autocast() -> None:
    pooler = StatisticalAttentivePooling(3)
    torch.nn.init.zeros_(pooler.scorer[2].weight)
    frames, padding_mask = torch.randn(2, 50, 3), torch.zeros(2, 50, dtype=torch.bool)
    full = pooler(frames, padding_mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pooler(frames, padding_mask), full)


@pytest.mark.parametrize("options", [{"attention_size": 0}, {"eps": 0.0}, {"eps": float("nan")}])
def test_refuses_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        StatisticalAttentivePooling(3, **options)  # type: ignore[arg-type]
