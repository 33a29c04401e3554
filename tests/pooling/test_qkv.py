# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from voxadapt.pooling import QKVPooling


def pool_one_clip(pooler: QKVPooling, clip: torch.Tensor) -> torch.Tensor:
    """The formula, written out head by head for one clip `[T, D]` without padding."""
    mean = sum(clip) / len(clip)
    heads = []
    for head in range(pooler.heads):
        rows = slice(head * pooler.head_size, (head + 1) * pooler.head_size)
        query = pooler.query.weight[rows] @ mean + pooler.query.bias[rows]
        keys = [pooler.key.weight[rows] @ h for h in clip]
        values = [pooler.value.weight[rows] @ h + pooler.value.bias[rows] for h in clip]
        energies = [torch.exp(query @ key / math.sqrt(pooler.head_size)) for key in keys]
        heads.append(
            sum(e / sum(energies) * value for e, value in zip(energies, values, strict=True))
        )
    return pooler.projection.weight @ torch.cat(heads) + pooler.projection.bias


def test_equals_the_loop_over_single_clips_and_heads() -> None:
    torch.manual_seed(0)
    pooler = QKVPooling(6, heads=3, head_size=4, output_size=7)
    frames = 2 * torch.randn(3, 8, 6) + 1
    lengths = [8, 3, 1]
    padding_mask = torch.arange(8) >= torch.tensor(lengths)[:, None]
    vector = pooler(frames, padding_mask)
    for clip, length in enumerate(lengths):
        expected = pool_one_clip(pooler, frames[clip, :length])
        torch.testing.assert_close(vector[clip], expected, atol=1e-5, rtol=1e-5)


def test_equals_torch_multi_head_attention_with_the_mean_as_query() -> None:
    torch.manual_seed(0)
    pooler = QKVPooling(8, heads=2, head_size=4, output_size=8)
    attention = torch.nn.MultiheadAttention(8, num_heads=2, batch_first=True)
    key_bias = torch.zeros(8)
    with torch.no_grad():
        projections = (pooler.query.weight, pooler.key.weight, pooler.value.weight)
        attention.in_proj_weight.copy_(torch.cat(projections))
        attention.in_proj_bias.copy_(torch.cat([pooler.query.bias, key_bias, pooler.value.bias]))
        attention.out_proj.load_state_dict(pooler.projection.state_dict())
    frames = torch.randn(3, 9, 8)
    lengths = torch.tensor([9, 4, 1])
    padding_mask = torch.arange(9) >= lengths[:, None]
    mean = frames.masked_fill(padding_mask[..., None], 0).sum(dim=1) / lengths[:, None]
    expected, weights = attention(
        mean[:, None], frames, frames, key_padding_mask=padding_mask, average_attn_weights=False
    )
    vector, ours = pooler.with_weights(frames, padding_mask)
    torch.testing.assert_close(vector, expected[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours, weights[:, :, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("option", ["heads", "head_size", "output_size"])
def test_refuses_sizes_that_are_not_whole_and_positive(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be a whole number of at least 1, got 0"):
        QKVPooling(6, **{option: 0})
