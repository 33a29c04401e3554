# SPDX-License-Identifier: Apache-2.0
"""Attention is the same whichever kernel computes it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from voxadapt.adapters import attention as module
from voxadapt.adapters.attention import attention


def draw(frames: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(frames)
    heads = [torch.randn(3, 2, frames, 8, generator=generator).to(dtype) for _ in range(3)]
    mask = torch.ones(3, 1, 1, frames, dtype=torch.bool)
    mask[1, ..., max(1, frames // 2) :] = False
    mask[2, ..., 1:] = False
    return [part.requires_grad_() for part in heads], mask


def run(parts: list[Tensor], mask: Tensor, kernel: object) -> list[Tensor]:
    outputs = kernel(*parts, mask)  # type: ignore[operator]
    weights = torch.linspace(-1.0, 1.0, outputs.numel()).reshape(outputs.shape)
    gradients = torch.autograd.grad((outputs.float() * weights).sum(), parts)
    return [outputs.detach().float(), *(gradient.float() for gradient in gradients)]


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


@pytest.mark.parametrize("frames", [1, 2, 9, 40])
def test_written_out_it_gives_what_float32_gives(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, mask = draw(frames, torch.bfloat16)
    monkeypatch.delattr(F, "scaled_dot_product_attention")
    found = run(parts, mask, attention)
    monkeypatch.undo()
    exact = [part.detach().float().requires_grad_() for part in parts]
    for ours, theirs in zip(found, run(exact, mask, fused), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.02)


def test_what_may_not_be_attended_to_changes_nothing() -> None:
    parts, mask = draw(10, torch.bfloat16)
    before = attention(*parts, mask)
    with torch.no_grad():
        for part in parts[1:]:
            part[1, :, 5:] = 1e4
    assert torch.equal(attention(*parts, mask)[1], before[1])


@pytest.mark.parametrize("case", ["float32", "no gradient", "long"])
def test_otherwise_the_fused_kernel_runs(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, mask = draw(6, torch.float32 if case == "float32" else torch.bfloat16)
    if case == "no gradient":
        parts = [part.detach() for part in parts]
    if case == "long":
        monkeypatch.setattr(module, "MOST_FRAMES", 5)
    assert torch.equal(attention(*parts, mask), fused(*parts, mask))
    calls = []
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *_, **__: calls.append(1) or parts[2]
    )
    attention(*parts, mask)
    assert calls
