# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from voxadapt.adapters import (
    AdapterFolderError,
    BottleneckAdapter,
    BottleneckAdapterConfig,
    WAPTransformer,
)

LENGTHS = [7, 1, 12]


@pytest.fixture
def adapter() -> BottleneckAdapter:
    """One with nothing neutral in it, in eval mode."""
    torch.manual_seed(0)
    adapter = BottleneckAdapter(BottleneckAdapterConfig(input_size=10, bottleneck=4))
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    adapter.standardize.set_statistics(torch.randn(10) + 1, torch.rand(10) + 0.5)
    return adapter.eval()


def test_it_starts_as_the_identity_of_standardised_frames(make_batch: Callable) -> None:
    adapter = BottleneckAdapter(BottleneckAdapterConfig(input_size=10, bottleneck=4, dropout=0.5))
    mean, std = torch.randn(10), torch.rand(10) + 0.5
    adapter.standardize.set_statistics(mean, std)
    frames, padding_mask = make_batch(LENGTHS)
    expected = ((frames - mean) / std).masked_fill(padding_mask.unsqueeze(-1), 0.0)
    assert torch.equal(adapter.train()(frames, padding_mask), expected)
    # Zeros in both matrices would never move.
    adapter(frames, padding_mask).square().sum().backward()
    assert adapter.up.weight.grad is not None
    assert adapter.up.weight.grad.abs().max() > 0


def test_equals_the_formula_written_out(adapter: BottleneckAdapter, make_batch: Callable) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    found = adapter(frames, padding_mask)
    assert found.shape == frames.shape
    for clip, length in enumerate(LENGTHS):
        for time in range(length):
            x = (frames[clip, time] - adapter.standardize.mean) / adapter.standardize.std
            normed = (x - x.mean()) / torch.sqrt(x.var(correction=0) + adapter.norm.eps)
            normed = normed * adapter.norm.weight + adapter.norm.bias
            inner = F.gelu(adapter.down.weight @ normed + adapter.down.bias)
            expected = x + adapter.up.weight @ inner + adapter.up.bias
            torch.testing.assert_close(found[clip, time], expected, rtol=1e-5, atol=1e-5)
    assert (found[padding_mask] == 0).all()


@pytest.mark.parametrize("garbage", [1e4, float("nan")])
def test_neither_padding_nor_the_batch_changes_a_clip(
    adapter: BottleneckAdapter, make_batch: Callable, garbage: float
) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    together = adapter(frames, padding_mask)
    dirty = frames.masked_fill(padding_mask.unsqueeze(-1), garbage)
    assert torch.equal(adapter(dirty, padding_mask), together)
    for clip, length in enumerate(LENGTHS):
        rows = slice(clip, clip + 1)
        alone = adapter(frames[rows, :length], padding_mask[rows, :length])
        torch.testing.assert_close(alone[0], together[clip, :length], rtol=1e-5, atol=1e-5)


def test_hidden_frames_stand_at_the_corpus_mean(
    adapter: BottleneckAdapter, make_batch: Callable
) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    span_mask = torch.zeros_like(padding_mask)
    span_mask[0, 2:4] = True
    at_mean = frames.clone()
    at_mean[0, 2:4] = adapter.standardize.mean
    assert torch.equal(adapter(frames, padding_mask, span_mask), adapter(at_mean, padding_mask))


def test_dropout_is_on_the_residual_and_only_in_training(
    adapter: BottleneckAdapter, make_batch: Callable
) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    adapter.set_dropout(0.5)
    assert torch.equal(adapter(frames, padding_mask), adapter(frames, padding_mask))
    torch.manual_seed(0)
    changed = adapter.train()(frames, padding_mask)
    kept = adapter.standardize(frames, padding_mask)
    residual = adapter.eval()(frames, padding_mask) - kept
    dropped = (changed - kept)[~padding_mask]
    share = (dropped == 0).float().mean()
    assert 0.3 < share < 0.7
    twice = dropped[dropped != 0] / residual[~padding_mask][dropped != 0]
    torch.testing.assert_close(twice, torch.full_like(twice, 2.0), rtol=1e-2, atol=1e-2)


def test_saved_and_loaded_it_is_the_same(
    adapter: BottleneckAdapter, make_batch: Callable, tmp_path: Path
) -> None:
    adapter.extras = {"backbone": "fbank"}
    adapter.save_pretrained(tmp_path / "adapter")
    loaded = BottleneckAdapter.from_pretrained(tmp_path / "adapter", dropout=0.2)
    assert not loaded.training
    assert loaded.extras == {"backbone": "fbank"}
    assert loaded.config == BottleneckAdapterConfig(10, 4, 0.2)
    batch = make_batch(LENGTHS)
    assert torch.equal(loaded(*batch), adapter(*batch))
    with pytest.raises(AdapterFolderError, match="'BottleneckAdapter', expected 'WAPTransformer'"):
        WAPTransformer.from_pretrained(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input_size": 0}, "input_size: found 0, must be a whole number, 1 or more"),
        ({"bottleneck": 2.5}, "bottleneck: found 2.5"),
        ({"bottleneck": True}, "bottleneck: found True"),
        ({"dropout": 1.0}, "dropout: found 1.0, must be at least 0 and below 1"),
    ],
)
def test_sizes_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BottleneckAdapterConfig(**values)


def test_frames_that_do_not_fit_are_refused(
    adapter: BottleneckAdapter, make_batch: Callable
) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    with pytest.raises(ValueError, match=r"expected \[B, T, 10\]"):
        adapter(frames[..., :9], padding_mask)
    with pytest.raises(ValueError, match=r"span_mask: found torch\.float32"):
        adapter(frames, padding_mask, padding_mask.float())
