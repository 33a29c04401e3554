# SPDX-License-Identifier: Apache-2.0
"""A learnt sum over layers that stand side by side in a frame."""

import pytest
import torch

from voxadapt.layer_mix import LayerMix


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three layers of four features, of scales that differ a thousandfold."""
    padding_mask = torch.arange(7) >= torch.tensor([7, 4])[:, None]
    frames = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))
    return frames * torch.tensor([0.1, 1.0, 100.0]).repeat_interleave(4) + 2.0, padding_mask


def test_untrained_it_is_the_mean_of_the_layers_each_on_its_own_scale(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    frames, padding_mask = batch
    mean, std = torch.full((12,), 2.0), torch.tensor([0.1, 1.0, 100.0]).repeat_interleave(4)
    mix = LayerMix(3, 4)
    mix.standardize.set_statistics(mean, std)
    layers = ((frames - mean) / std).split(4, dim=-1)
    expected = torch.stack(layers).mean(dim=0).masked_fill(padding_mask[..., None], 0.0)
    torch.testing.assert_close(mix(frames, padding_mask), expected)
    assert (mix.input_size, mix.output_size) == (12, 4)
    torch.testing.assert_close(mix.weights, torch.full((3,), 1 / 3))


def test_a_weight_of_one_picks_its_layer(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    mix = LayerMix(3, 4)
    with torch.no_grad():
        mix.weighted_sum.scores.copy_(torch.tensor([0.0, 100.0, 0.0]))
    expected = batch[0][..., 4:8].masked_fill(batch[1][..., None], 0.0)
    torch.testing.assert_close(mix(*batch), expected)


def test_its_weights_train_and_its_config_builds_it_again(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    mix = LayerMix(**LayerMix(3, 4).config())
    assert mix.config() == {"layers": 3, "size": 4}
    mix(*batch).square().sum().backward()
    assert [name for name, _ in mix.named_parameters()] == ["weighted_sum.scores"]
    assert mix.weighted_sum.scores.grad is not None
    assert mix.weighted_sum.scores.grad.abs().min() > 0


def test_frames_of_another_size_are_refused(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"\[B, T, 8\]"):
        LayerMix(2, 4)(*batch)


@pytest.mark.parametrize(("layers", "size"), [(0, 4), (3, 0), (3, -1)])
def test_a_number_below_one_is_refused(layers: int, size: int) -> None:
    with pytest.raises(ValueError, match="1"):
        LayerMix(layers, size)
