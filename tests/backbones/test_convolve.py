# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from voxadapt.backbones import convolve as convolve_module
from voxadapt.backbones.convolve import convolve, lay_out


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convolution(kernel=3, stride=1, groups=1, bias=True, dtype=torch.float32):
    module = nn.Conv1d(8, 12, kernel, stride=stride, groups=groups, bias=bias)
    for number, parameter in enumerate(module.parameters()):
        parameter.data.copy_(draw(*parameter.shape, seed=number))
    return module.to(dtype).requires_grad_(False)


def plain(module, frames, padding, gelu):
    image = F.conv1d(
        frames.transpose(1, 2),
        module.weight,
        module.bias,
        module.stride,
        padding,
        groups=module.groups,
    )
    outputs = image.transpose(1, 2)
    return F.gelu(outputs) if gelu else outputs


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("laid_out", [False, True])
@pytest.mark.parametrize(
    ("options", "padding"),
    [
        ({}, 0),
        ({"kernel": 2, "stride": 2}, 0),
        ({"kernel": 3, "stride": 2}, 1),
        ({"kernel": 6, "groups": 4}, 3),
        ({"kernel": 5, "bias": False}, 2),
    ],
)
def test_it_is_the_convolution(options, padding, laid_out, gelu):
    module, frames = convolution(**options), draw(2, 11, 8)
    expected = plain(module, frames, padding, gelu)
    if laid_out:
        lay_out(module)
    with torch.no_grad():
        outputs = convolve(module, frames, padding=padding, gelu=gelu)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
def test_bfloat16(gelu):
    module, frames = convolution(dtype=torch.bfloat16), draw(2, 11, 8).bfloat16()
    with torch.no_grad():
        outputs = convolve(module, frames, gelu=gelu)
    assert outputs.dtype == torch.bfloat16
    expected = plain(module.float(), frames.float(), 0, gelu)
    torch.testing.assert_close(outputs.float(), expected, atol=0.1, rtol=0.01)


@pytest.mark.parametrize("gelu", [False, True])
def test_gradients(gelu):
    gradients = []
    for run in (lambda *given: convolve(*given[:2], padding=given[2], gelu=given[3]), plain):
        module, frames = convolution().requires_grad_(True), draw(2, 11, 8).requires_grad_(True)
        (run(module, frames, 1, gelu) * draw(2, 11, 12, seed=2)).sum().backward()
        gradients.append([frames.grad, module.weight.grad, module.bias.grad])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_without_the_kernel(monkeypatch):
    module, frames = convolution(), draw(2, 11, 8)
    with torch.no_grad():
        expected = convolve(module, frames, gelu=True)
        monkeypatch.setattr(convolve_module, "_onednn_convolution", lambda: None)
        torch.testing.assert_close(convolve(module, frames, gelu=True), expected)


def test_the_kernel_is_there():
    """Without it everything works, but slower; so it would go unseen."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    assert convolve_module._onednn_convolution() is not None


def test_laying_out_changes_neither_shape_nor_values():
    module = convolution(kernel=5)
    before = module.weight.detach().clone()
    lay_out(module)
    assert torch.equal(module.weight, before)
    image = module.weight.unsqueeze(2)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert (
        module.to(torch.bfloat16)
        .weight.unsqueeze(2)
        .is_contiguous(memory_format=torch.channels_last)
    )
