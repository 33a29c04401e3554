# SPDX-License-Identifier: Apache-2.0
"""What every pooler promises, and how one is built by name."""

import json
import subprocess
import sys

import pytest
import torch

from voxadapt.pooling import POOLERS, Pooler, build_pooler

SIZE = 12
LENGTHS = [7, 1, 4, 9]
OPTIONS = {
    "mean": {"output_size": None},
    "sap": {"attention_size": 5, "eps": 1e-4, "output_size": None},
    "mean projected": {"output_size": 10},
    "sap projected": {"attention_size": 5, "eps": 1e-4, "output_size": 10},
    "attentive": {"heads": 3, "attention_size": 5, "output_size": 10},
    "qkv": {"heads": 3, "head_size": 4, "output_size": 10},
}
HEADS = {"mean": 1, "sap": 1, "attentive": 3, "qkv": 3}
OUTPUT_SIZES = {"mean": 12, "sap": 24}

every_pooler = pytest.mark.parametrize("name", list(OPTIONS))


def make_pooler(name: str) -> Pooler:
    """A pooler by its name, with a projection where " projected" follows it."""
    torch.manual_seed(1)
    return build_pooler(name.partition(" ")[0], SIZE, **OPTIONS[name])


def test_every_pooler_is_tested() -> None:
    assert {name.partition(" ")[0] for name in OPTIONS} == set(POOLERS)


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Frames `[4, 9, 12]` of unlike level and spread, and their padding mask."""
    generator = torch.Generator().manual_seed(0)
    frames = 3 * torch.randn(len(LENGTHS), max(LENGTHS), SIZE, generator=generator) + 2
    return frames, torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS)[:, None]


@every_pooler
def test_shapes_and_sizes(name: str) -> None:
    pooler = make_pooler(name)
    frames, padding_mask = make_batch()
    vector, weights = pooler.with_weights(frames, padding_mask)
    output_size = OUTPUT_SIZES.get(name, 10)
    assert (pooler.input_size, pooler.output_size) == (SIZE, output_size)
    assert vector.shape == (4, output_size)
    assert weights.shape == (4, HEADS[name.partition(" ")[0]], 9)
    assert torch.equal(pooler(frames, padding_mask), vector)


@every_pooler
def test_weights_sum_to_one_over_real_frames_and_are_zero_on_padding(name: str) -> None:
    frames, padding_mask = make_batch()
    padding_mask[3, 2] = True  # padding may stand anywhere
    weights = make_pooler(name).with_weights(frames, padding_mask)[1]
    real = ~padding_mask[:, None, :].expand_as(weights)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    assert (weights[real] > 0).all()
    assert (weights[~real] == 0).all()


@every_pooler
@pytest.mark.parametrize("garbage", ["random", "nan", "inf"])
def test_garbage_in_padding_changes_no_bit(name: str, garbage: str) -> None:
    pooler = make_pooler(name)
    clean, padding_mask = make_batch()
    clean[padding_mask] = 0.0
    dirty = clean.clone()
    dirty[padding_mask] = 1e4 * torch.randn(SIZE) if garbage == "random" else float(garbage)

    def run(frames: torch.Tensor) -> list[torch.Tensor]:
        frames.requires_grad_()
        vector, weights = pooler.with_weights(frames, padding_mask)
        wanted = [frames, *pooler.parameters()]
        return [vector, weights, *torch.autograd.grad(vector.square().sum(), wanted)]

    for before, after in zip(run(clean), run(dirty), strict=True):
        assert torch.equal(before, after)


@every_pooler
def test_a_clip_alone_equals_the_clip_in_a_batch(name: str) -> None:
    pooler = make_pooler(name)
    frames, padding_mask = make_batch()
    together, weights_together = pooler.with_weights(frames, padding_mask)
    for clip, length in enumerate(LENGTHS):
        alone, weights_alone = pooler.with_weights(
            frames[clip : clip + 1, :length], padding_mask[clip : clip + 1, :length]
        )
        torch.testing.assert_close(alone[0], together[clip], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            weights_alone[0], weights_together[clip, :, :length], atol=1e-6, rtol=1e-5
        )


@every_pooler
@pytest.mark.parametrize("kind", ["one frame", "constant", "zero"])
def test_gradients_are_finite_without_variance(name: str, kind: str) -> None:
    pooler = make_pooler(name)
    frames = make_batch()[0][:, :1] if kind == "one frame" else torch.full((2, 6, SIZE), 0.7)
    frames = (0.0 * frames if kind == "zero" else frames).requires_grad_()
    padding_mask = torch.zeros(frames.shape[:2], dtype=torch.bool)
    vector = pooler(frames, padding_mask)
    gradients = torch.autograd.grad(vector.square().sum(), [frames, *pooler.parameters()])
    assert vector.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_pooler
def test_gradients_reach_every_parameter_and_real_frame(name: str) -> None:
    pooler = make_pooler(name).double()
    frames, padding_mask = make_batch()
    frames = frames.double().requires_grad_()
    pooler(frames, padding_mask).square().sum().backward()
    for path, parameter in pooler.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.abs().max() > 1e-6, path
    assert frames.grad is not None
    assert (frames.grad[~padding_mask].abs().amax(dim=-1) > 0).all()
    assert (frames.grad[padding_mask] == 0).all()


@every_pooler
def test_float64_agrees_with_float32(name: str) -> None:
    pooler = make_pooler(name)
    frames, padding_mask = make_batch()
    single = pooler(frames, padding_mask)
    double, weights = pooler.double().with_weights(frames.double(), padding_mask)
    assert double.dtype == weights.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=1e-5)


@every_pooler
def test_autocast_to_bfloat16(name: str) -> None:
    pooler = make_pooler(name)
    frames, padding_mask = make_batch()
    full = pooler(frames, padding_mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vector, weights = pooler.with_weights(frames, padding_mask)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    torch.testing.assert_close(vector.float(), full, atol=0.1, rtol=0.05)
    for parameter in pooler.parameters():
        (gradient,) = torch.autograd.grad(vector.float().sum(), parameter, retain_graph=True)
        assert gradient.isfinite().all()


@every_pooler
def test_bfloat16_throughout(name: str) -> None:
    pooler = make_pooler(name)
    frames, padding_mask = make_batch()
    full = pooler(frames, padding_mask)
    vector, weights = pooler.bfloat16().with_weights(frames.bfloat16(), padding_mask)
    assert (vector.dtype, weights.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(vector.float(), full, atol=0.1, rtol=0.05)


@every_pooler
def test_float16_takes_long_clips(name: str) -> None:
    pooler = make_pooler(name)
    # The sum of 2,000 frames is beyond 65,504, the highest number of float16.
    frames = torch.full((1, 2_000, SIZE), 40.0) + torch.randn(SIZE)
    padding_mask = torch.zeros(1, 2_000, dtype=torch.bool)
    full = pooler(frames, padding_mask)
    vector, weights = pooler.half().with_weights(frames.half(), padding_mask)
    assert (vector.dtype, weights.dtype) == (torch.float16, torch.float32)
    torch.testing.assert_close(vector.float(), full, atol=0.1, rtol=0.05)


@every_pooler
def test_config_builds_an_equal_pooler(name: str) -> None:
    pooler = make_pooler(name)
    config = json.loads(json.dumps(pooler.config()))
    assert config == {"input_size": SIZE, **OPTIONS[name]}
    twin = build_pooler(name.partition(" ")[0], **config)
    twin.load_state_dict(pooler.state_dict())
    assert type(twin) is type(pooler)
    assert torch.equal(twin(*make_batch()), pooler(*make_batch()))


@every_pooler
def test_exports_to_a_graph_for_any_length(name: str) -> None:
    pooler = make_pooler(name)
    time = torch.export.Dim("time", min=2)
    program = torch.export.export(pooler, make_batch(), dynamic_shapes=({1: time}, {1: time}))
    longer = torch.randn(4, 30, SIZE)
    padding_mask = torch.arange(30) >= torch.tensor([30, 2, 11, 5])[:, None]
    torch.testing.assert_close(
        program.module()(longer, padding_mask), pooler(longer, padding_mask), atol=1e-5, rtol=1e-5
    )


@every_pooler
def test_wrong_input_is_refused(name: str) -> None:
    pooler = make_pooler(name)
    frames, padding_mask = make_batch()
    with pytest.raises(ValueError, match=r"frames must .*\[B, T, 12\], got .*\[4, 9, 11\]"):
        pooler(frames[..., :11], padding_mask)
    with pytest.raises(ValueError, match=r"frames must .*got torch.float32 \[9, 12\]"):
        pooler(frames[0], padding_mask)
    with pytest.raises(ValueError, match=r"frames must be a float tensor .*got torch.int64"):
        pooler(frames.long(), padding_mask)
    with pytest.raises(ValueError, match=r"padding_mask must be a bool tensor.*torch.float32"):
        pooler(frames, padding_mask.float())
    with pytest.raises(ValueError, match=r"padding_mask must be a bool tensor.*NoneType"):
        pooler(frames, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"padding_mask must be \[B, T\] = \[4, 9\].*\[4, 8\]"):
        pooler(frames, padding_mask[:, :8])
    padding_mask[1] = True
    with pytest.raises(ValueError, match=r"at least one real frame.*clips \[1\]"):
        pooler(frames, padding_mask)
    with pytest.raises(TypeError, match="padding_mask"):
        pooler(frames)


def test_unknown_names_and_options_are_answered_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'asp'.*mean, sap, attentive, qkv.*mean 'sap'\?"):
        build_pooler("asp", SIZE)
    with pytest.raises(ValueError, match=r"'xyzzy'; choose from mean, sap, attentive, qkv\.$"):
        build_pooler("xyzzy", SIZE)
    with pytest.raises(ValueError, match=r"'head'; choose from heads, .* did you mean 'heads'\?"):
        build_pooler("qkv", SIZE, head=2)
    with pytest.raises(ValueError, match="'mean' has no option 'heads'; choose from output_size"):
        build_pooler("mean", SIZE, heads=2)


def test_import_is_light() -> None:
    code = (
        "import sys, voxadapt.pooling\n"
        "heavy = {'transformers', 'accelerate', 'faiss', 'torchaudio', 'sklearn'}\n"
        "ours = {'voxadapt.adapters', 'voxadapt.backbones', 'voxadapt.recipes'}\n"
        "sys.exit(', '.join((heavy | ours) & set(sys.modules)) or None)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
