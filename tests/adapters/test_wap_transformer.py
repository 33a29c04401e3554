# SPDX-License-Identifier: Apache-2.0
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig

LENGTHS = [7, 1, 40, 23]


def test_shapes(make_adapter: Callable, make_batch: Callable) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch(LENGTHS)
    output = adapter(frames, padding_mask)
    assert output.shape == (4, 40, 16)
    assert output.dtype == torch.float32
    assert (adapter.input_size, adapter.output_size) == (10, 16)
    assert (output[padding_mask] == 0).all()
    assert (output[~padding_mask] != 0).any(dim=-1).all()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 17, 300])
def test_any_length(make_adapter: Callable, make_batch: Callable, length: int) -> None:
    output = make_adapter()(*make_batch([length]))
    assert output.shape == (1, length, 16)
    assert torch.isfinite(output).all()


def test_the_batch_never_changes_the_answer(make_adapter: Callable, make_batch: Callable) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch(LENGTHS)
    span_mask = torch.rand(padding_mask.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    for mask in (None, span_mask):
        together = adapter(frames, padding_mask, mask)
        for row, length in enumerate(LENGTHS):
            alone = adapter(
                frames[row : row + 1, :length],
                padding_mask[row : row + 1, :length],
                None if mask is None else mask[row : row + 1, :length],
            )
            torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("garbage", [1e4, float("nan"), float("inf")])
def test_garbage_in_padding_changes_no_bit(
    make_adapter: Callable, make_batch: Callable, garbage: float
) -> None:
    adapter = make_adapter()
    clean, padding_mask = make_batch(LENGTHS)
    dirty = clean.masked_fill(padding_mask.unsqueeze(-1), garbage)

    def run(frames: torch.Tensor, span_mask: torch.Tensor) -> list[torch.Tensor]:
        frames = frames.clone().requires_grad_()
        output = adapter(frames, padding_mask, span_mask)
        return [
            output,
            *torch.autograd.grad(output.pow(3).sum(), [frames, *adapter.parameters()]),
        ]

    hidden = torch.zeros_like(padding_mask)
    hidden[:, 0] = True
    before = run(clean, hidden)
    # A span that falls into padding is garbage too.
    for after in (run(dirty, hidden), run(dirty, hidden | padding_mask)):
        for left, right in zip(before, after, strict=True):
            assert torch.equal(left, right)


def test_clip_of_padding_alone_is_zeros(make_adapter: Callable, make_batch: Callable) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch([5, 5])
    padding_mask[1] = True
    output = adapter(frames, padding_mask)
    assert (output[1] == 0).all()
    output.pow(3).sum().backward()
    gradients = [parameter.grad for parameter in adapter.parameters()]
    assert all(gradient is None or torch.isfinite(gradient).all() for gradient in gradients)
    torch.testing.assert_close(output[:1], adapter(frames[:1], padding_mask[:1]))


def test_output_is_the_weighted_sum_over_layers(
    make_adapter: Callable, make_batch: Callable
) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch(LENGTHS)
    outputs: list[torch.Tensor] = []
    for layer in adapter.layers:
        layer.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    output = adapter(frames, padding_mask)

    exponentials = [weight.exp() for weight in adapter.layer_weights]
    assert len(outputs) == len(exponentials) == 3
    pooled = sum(weight * layer for weight, layer in zip(exponentials, outputs, strict=True))
    pooled = pooled / sum(exponentials)
    real = ~padding_mask
    torch.testing.assert_close(output[real], adapter.norm(pooled)[real])


def test_first_layer_sees_projection_and_position(
    make_adapter: Callable, make_batch: Callable
) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch([9])
    seen: list[torch.Tensor] = []
    adapter.layers[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    adapter(frames, padding_mask)

    standardized = (frames[0] - adapter.standardize.mean) / adapter.standardize.std
    projected = standardized @ adapter.input_projection.weight.T + adapter.input_projection.bias
    weight, bias = adapter.position.convolution.weight, adapter.position.convolution.bias
    position = bias.repeat(9, 1)  # [T, D]; 4 groups of 4 features, 5 frames seen
    for frame in range(9):
        for feature in range(16):
            group = slice(feature // 4 * 4, feature // 4 * 4 + 4)
            for tap in range(5):
                source = frame + tap - 2
                if 0 <= source < 9:
                    position[frame, feature] += weight[feature, :, tap] @ projected[source, group]
    torch.testing.assert_close(seen[0][0], projected + F.gelu(position), atol=1e-5, rtol=1e-5)


def test_layer_equals_torchs_pre_norm_encoder_layer(
    make_adapter: Callable, make_batch: Callable
) -> None:
    layer = make_adapter().layers[0]
    reference = nn.TransformerEncoderLayer(
        16, 2, 24, 0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {
        "attention_norm": "norm1",
        "query_key_value.weight": "self_attn.in_proj_weight",
        "query_key_value.bias": "self_attn.in_proj_bias",
        "attention_output": "self_attn.out_proj",
        "feedforward_norm": "norm2",
        "feedforward_input": "linear1",
        "feedforward_output": "linear2",
    }
    renamed = {}
    for name, tensor in layer.state_dict().items():
        ours = next(part for part in names if name.startswith(part))
        renamed[names[ours] + name.removeprefix(ours)] = tensor
    reference.load_state_dict(renamed)
    hidden_states, padding_mask = make_batch(LENGTHS, size=16)
    expected = reference(hidden_states, src_key_padding_mask=padding_mask)
    output = layer(hidden_states, ~padding_mask[:, None, None, :])
    real = ~padding_mask
    torch.testing.assert_close(output[real], expected[real], atol=1e-5, rtol=1e-5)


def test_span_mask_hides_frames(make_adapter: Callable, make_batch: Callable) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch([12, 9])
    span_mask = torch.zeros_like(padding_mask)
    span_mask[0, 3:6] = span_mask[1, 0] = True
    output = adapter(frames, padding_mask, span_mask)

    changed = frames.clone()
    changed[span_mask] += 5.0
    assert torch.equal(adapter(changed, padding_mask, span_mask), output)
    changed[0, 6] += 5.0
    assert not torch.allclose(adapter(changed, padding_mask, span_mask)[0], output[0], atol=1e-3)

    assert not torch.allclose(adapter(frames, padding_mask), output, atol=1e-3)
    nothing = torch.zeros_like(padding_mask)
    assert torch.equal(adapter(frames, padding_mask, nothing), adapter(frames, padding_mask))


def test_mask_embedding_stands_in_after_the_projection(
    make_adapter: Callable, make_batch: Callable
) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch([6])
    seen: list[torch.Tensor] = []
    adapter.position.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    span_mask = torch.tensor([[False, True, True, False, False, False]])
    adapter(frames, padding_mask, span_mask)
    assert torch.equal(seen[0][0, 1:3], adapter.mask_embedding.expand(2, 16))
    projected = adapter.input_projection(adapter.standardize(frames, padding_mask))
    torch.testing.assert_close(seen[0][~span_mask], projected[~span_mask])


def test_every_parameter_gets_a_gradient(make_adapter: Callable, make_batch: Callable) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    span_mask = torch.zeros_like(padding_mask)
    span_mask[:, 2] = True
    for mask, untouched in ((span_mask, set()), (None, {"mask_embedding"})):
        adapter = make_adapter().train()
        adapter(frames, padding_mask, mask).pow(3).sum().backward()
        without = {
            name
            for name, parameter in adapter.named_parameters()
            if parameter.grad is None or not parameter.grad.abs().sum() > 0
        }
        assert without == untouched
    assert {"mask_embedding", "layer_weights"} < {name for name, _ in adapter.named_parameters()}


def test_dropout_follows_the_mode_and_can_be_changed(
    tiny_config: WAPTransformerConfig, make_adapter: Callable, make_batch: Callable
) -> None:
    adapter = make_adapter(dataclasses.replace(tiny_config, dropout=0.5))
    batch = make_batch([8])
    expected = adapter(*batch)
    assert torch.equal(adapter(*batch), expected)
    adapter.train()
    assert not torch.allclose(adapter(*batch), adapter(*batch))
    adapter.set_dropout(0.0)
    assert adapter.config.dropout == 0.0
    torch.testing.assert_close(adapter(*batch), expected)
    adapter.set_dropout(0.3)
    assert not torch.allclose(adapter(*batch), adapter(*batch))
    with pytest.raises(ValueError, match=r"dropout: found 1\.0"):
        adapter.set_dropout(1.0)
    assert adapter.config.dropout == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({name: value}, f"{name}: found {value}, must be a whole number")
            for name in (
                "input_size",
                "width",
                "layers",
                "heads",
                "feedforward",
                "position_kernel",
                "position_groups",
            )
            for value in (0, -1, 4.0, True)
        ),
        ({"dropout": -0.1}, "dropout: found -0.1"),
        ({"dropout": 1.0}, "dropout: found 1.0"),
        ({"dropout": float("nan")}, "dropout: found nan"),
        ({"position_kernel": 4}, "position_kernel: found 4, must be odd"),
        ({"heads": 3}, r"heads: found 3, must divide width \(16\)"),
        ({"position_groups": 5}, r"position_groups: found 5, must divide width \(16\)"),
    ],
)
def test_config_is_validated(
    tiny_config: WAPTransformerConfig, changes: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_config, **changes)


def test_forward_checks_its_arguments(make_adapter: Callable, make_batch: Callable) -> None:
    adapter = make_adapter()
    frames, padding_mask = make_batch([4])
    with pytest.raises(ValueError, match="frames: found shape"):
        adapter(frames[..., :3], padding_mask)
    with pytest.raises(ValueError, match="padding_mask: found"):
        adapter(frames, padding_mask.float())
    with pytest.raises(ValueError, match="span_mask: found"):
        adapter(frames, padding_mask, padding_mask.float())


def test_saved_adapter_comes_back_the_same(
    tiny_config: WAPTransformerConfig, make_adapter: Callable, make_batch: Callable, tmp_path: Path
) -> None:
    adapter = make_adapter(dataclasses.replace(tiny_config, dropout=0.4))
    adapter.extras = {"backbone": {"type": "fbank"}, "note": "höher", "hours": 1.5, "none": None}
    adapter.save_pretrained(tmp_path / "new" / "folder")
    loaded = WAPTransformer.from_pretrained(tmp_path / "new" / "folder")
    assert loaded.config == adapter.config
    assert loaded.extras == adapter.extras
    assert not loaded.training  # else its dropout would make every output another one
    batch = make_batch(LENGTHS)
    assert torch.equal(loaded(*batch), adapter(*batch))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_saved_adapter_is_the_same_in_a_new_process(
    make_adapter: Callable, make_batch: Callable, tmp_path: Path
) -> None:
    adapter = make_adapter()
    adapter.save_pretrained(tmp_path)
    frames, padding_mask = make_batch(LENGTHS)
    save_file({"frames": frames, "padding_mask": padding_mask}, tmp_path / "batch.safetensors")
    code = """
from safetensors.torch import load_file, save_file
from voxadapt.adapters import WAPTransformer
adapter = WAPTransformer.from_pretrained(".")
save_file({"output": adapter(**load_file("batch.safetensors")).detach()}, "output.safetensors")
"""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    output = load_file(tmp_path / "output.safetensors")["output"]
    assert torch.equal(output, adapter(frames, padding_mask))


def test_dropout_can_be_changed_on_loading(
    tiny_config: WAPTransformerConfig, make_adapter: Callable, tmp_path: Path
) -> None:
    make_adapter(dataclasses.replace(tiny_config, dropout=0.1)).save_pretrained(tmp_path)
    assert WAPTransformer.from_pretrained(tmp_path).config.dropout == 0.1
    loaded = WAPTransformer.from_pretrained(tmp_path, dropout=0.3)
    assert loaded.config.dropout == 0.3
    assert [layer.dropout for layer in loaded.layers] == [0.3] * 3
    assert WAPTransformer.from_pretrained(tmp_path, dropout=0.0).layers[0].dropout == 0.0
    with pytest.raises(ValueError, match="dropout: found 2"):
        WAPTransformer.from_pretrained(tmp_path, dropout=2)
