# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from voxadapt.backbones import attention
from voxadapt.backbones.attention import attend, join_heads, split_heads

LENGTHS = torch.tensor([9, 4, 1])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(query, key, value, lengths=None, bias=None):
    """The formula, clip by clip."""
    outputs = []
    for clip in range(len(query)):
        real = key.shape[2] if lengths is None else int(lengths[clip])
        scores = query[clip] @ key[clip, :, :real].transpose(1, 2) / query.shape[-1] ** 0.5
        if bias is not None:
            scores = scores + bias[clip % len(bias), :, :, :real]
        outputs.append(scores.softmax(dim=-1) @ value[clip, :, :real])
    return torch.stack(outputs)


@pytest.fixture(params=[9, 5], ids=["all queries", "the first queries"])
def parts(request):
    return draw(3, 2, request.param, 4), draw(3, 2, 9, 4, seed=1), draw(3, 2, 9, 4, seed=2)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("clips_of_bias", [None, 1, 3])
@pytest.mark.parametrize("grad", [True, False])
def test_it_is_the_formula(parts, lengths, clips_of_bias, grad):
    bias = None
    if clips_of_bias is not None:
        bias = draw(clips_of_bias, 2, parts[0].shape[2], 9, seed=3)
    called = None if bias is None else lambda start, stop: bias[:, :, start:stop]
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(attend(*parts, lengths, called), plain(*parts, lengths, bias))


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("few_keys", [0, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_on_the_padding_are_not_seen(parts, with_bias, few_keys, dtype, monkeypatch):
    monkeypatch.setattr(attention, "_FEW_KEYS", few_keys, raising=False)
    query, key, value = (part.to(dtype) for part in parts)
    bias = draw(3, 2, query.shape[2], 9, seed=3)
    called = (lambda start, stop: bias[:, :, start:stop]) if with_bias else None
    with torch.no_grad():
        expected = attend(query, key, value, LENGTHS, called)
        for clip, length in enumerate(LENGTHS):
            key[clip, :, length:] = 1e4
            value[clip, :, length:] = -1e4
            bias[clip, :, :, length:] = 1e4
        assert torch.equal(attend(query, key, value, LENGTHS, called), expected)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("few_keys", [0, 256])
def test_bfloat16_is_near(lengths, few_keys, monkeypatch):
    monkeypatch.setattr(attention, "_FEW_KEYS", few_keys, raising=False)
    parts = [draw(3, 2, 9, 4, seed=seed).bfloat16() for seed in range(3)]
    expected = plain(*(part.float() for part in parts), lengths)
    with torch.no_grad():
        attended = attend(*parts, lengths)
    assert attended.dtype == torch.bfloat16
    torch.testing.assert_close(attended.float(), expected, atol=0.03, rtol=0.03)


def test_a_bias_in_float32_goes_with_half_precision(monkeypatch):
    """In the type of the query, which kernels of some devices insist on."""
    types, run = [], attention.F.scaled_dot_product_attention
    monkeypatch.setattr(
        attention.F,
        "scaled_dot_product_attention",
        lambda *given, attn_mask: types.append(attn_mask.dtype) or run(*given, attn_mask=attn_mask),
    )
    parts = [draw(3, 2, 9, 4, seed=seed) for seed in range(3)]
    bias = draw(3, 2, 9, 9, seed=3)
    attended = attend(*(part.bfloat16() for part in parts), None, lambda start, stop: bias)
    assert attended.dtype == torch.bfloat16
    assert types == [torch.bfloat16]
    torch.testing.assert_close(attended.float(), plain(*parts, None, bias), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("elements", [1, 3 * 2 * 9, 3 * 2 * 9 * 4 + 5, 1 << 24])
def test_blocks_of_queries(elements, monkeypatch):
    monkeypatch.setattr(attention, "_BIAS_ELEMENTS", elements)
    parts = [draw(3, 2, 9, 4, seed=seed) for seed in range(3)]
    bias = draw(3, 2, 9, 9, seed=3)
    asked = []

    def called(start, stop):
        asked.append((start, stop))
        return bias[:, :, start:stop]

    torch.testing.assert_close(attend(*parts, LENGTHS, called), plain(*parts, LENGTHS, bias))
    size = min(9, max(1, elements // (3 * 2 * 9)))
    assert asked == [(start, min(9, start + size)) for start in range(0, 9, size)]


@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients(with_bias, monkeypatch):
    monkeypatch.setattr(attention, "_BIAS_ELEMENTS", 3 * 2 * 9 * 2)
    gradients = []
    for run in (attend, plain):
        given = [draw(3, 2, 9, 4, seed=seed).requires_grad_() for seed in range(3)]
        bias = draw(3, 2, 9, 9, seed=3).requires_grad_()
        wanted = None
        if with_bias:
            wanted = bias if run is plain else (lambda start, stop: bias[:, :, start:stop])  # noqa: B023
            given.append(bias)
        (run(*given[:3], LENGTHS, wanted) * draw(3, 2, 9, 4, seed=4)).sum().backward()
        gradients.append([tensor.grad for tensor in given])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_heads():
    hidden_states = draw(2, 5, 6)
    heads = split_heads(hidden_states, 3)
    assert heads.shape == (2, 3, 5, 2)
    assert torch.equal(heads[1, 2, 4], hidden_states[1, 4, 4:])
    assert torch.equal(join_heads(heads), hidden_states)
