# SPDX-License-Identifier: Apache-2.0
"""The benchmark of fine-tuning: that both loops train the same head, and that it prints."""

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.pooling import StatisticalAttentivePooling


@pytest.fixture
def benchmark(load_benchmark: Callable[..., Namespace]) -> Iterator[Any]:
    from accelerate.state import AcceleratorState, GradientState

    yield load_benchmark("finetuning").main
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def test_the_padded_loop_s_model_is_ours_of_torch_s_own_layers(benchmark: Any) -> None:
    config = WAPTransformerConfig(6, 8, 2, 2, 16, 0.0, 5, 2)
    torch.manual_seed(0)
    adapter, pooler = WAPTransformer(config).eval(), StatisticalAttentivePooling(8)
    plain = benchmark.PlainModel(config, 3, 0.0).eval()
    own = {name: tensor for name, tensor in adapter.state_dict().items() if "layers." in name}
    names = {
        "attention_norm": "norm1",
        "query_key_value.weight": "self_attn.in_proj_weight",
        "query_key_value.bias": "self_attn.in_proj_bias",
        "attention_output": "self_attn.out_proj",
        "feedforward_norm": "norm2",
        "feedforward_input": "linear1",
        "feedforward_output": "linear2",
    }
    state = {}
    for name, tensor in own.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = tensor
    for prefix, module in (
        ("project", adapter.input_projection),
        ("position", adapter.position.convolution),
        ("norm", adapter.norm),
        ("scorer", pooler.scorer),
        ("linear", plain.linear),
    ):
        state |= {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}
    # A constant, which the softmax does not see.
    state |= {"layer_weights": adapter.layer_weights, "scorer.2.bias": torch.ones(1)}
    plain.load_state_dict(state)
    frames, padding_mask = torch.randn(2, 9, 6), torch.arange(9) >= torch.tensor([[9], [5]])
    expected = plain.linear(pooler(adapter(frames, padding_mask), padding_mask))
    torch.testing.assert_close(plain(frames, padding_mask), expected, rtol=1e-4, atol=1e-4)


def test_the_padded_loop_learns_from_every_clip_once(benchmark: Any) -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    targets = np.arange(20) % 2
    clips = [
        (random.standard_normal((5 + row % 4, 6)) + 3 * targets[row]).astype(np.float32)
        for row in range(20)
    ]
    model = benchmark.PlainModel(WAPTransformerConfig(6, 8, 2, 2, 16, 0.0, 5, 2), 2, 0.0)
    loop = benchmark.PaddedLoop(model, clips, targets, range(14), range(14, 20), batch_clips=4)
    seen: list[int] = []
    pad = loop._pad
    loop._pad = lambda batch: (seen.extend(batch.tolist()), pad(batch))[1]
    loop.epoch()
    assert sorted(seen) == list(range(20))
    assert seen[:14] != list(range(14))
    frames, padding_mask, classes = pad(np.array([0, 3]))
    assert frames.shape == (2, 8, 6)
    assert padding_mask.sum(dim=1).tolist() == [3, 0]
    assert classes.tolist() == [0, 1]
    assert max(loop.epoch() for _ in range(15)) == 1.0


def test_targets_are_judged_against_the_larger_batch(benchmark: Any) -> None:
    results = {
        "setup": {"threads": 2, "torch": "2.11", "load_before": 0.5, "batch_clips": [16, 128]},
        "runs": [
            {"precision": "fp32", "epochs": 30, "seconds": 61.0, "cpu_seconds": 90.0},
            {"precision": "bf16", "epochs": 30, "seconds": 59.0, "cpu_seconds": 80.0},
            {"precision": "fp32", "epochs": 1, "seconds": 9.0, "cpu_seconds": 8.0},
        ],
        "epochs": {
            "voxadapt, fp32": {"seconds": [3.0, 2.0, 2.5], "cpu_seconds": [2.0]},
            "voxadapt, bf16": {"seconds": [1.0, 1.0, 9.0], "cpu_seconds": [1.0]},
            "padded loop, 16 clips": {"seconds": [2.0, 2.0, 2.0], "cpu_seconds": [4.0]},
            "padded loop, 128 clips": {"seconds": [4.0, 3.0, 3.5], "cpu_seconds": [5.0]},
        },
    }
    lines = benchmark.tables(results).splitlines()
    assert "| fp32 | 30 | 61.0 (missed) | 90.0 |" in lines
    assert "| bf16 | 30 | 59.0 (met) | 80.0 |" in lines
    assert "| fp32 | 1 | 9.0 (not judged) | 8.0 |" in lines
    assert "| voxadapt, fp32 | 2.50 | 1.40 (missed) | 2.00 | 2.50 |" in lines
    assert "| voxadapt, bf16 | 1.00 | 3.50 (met) | 1.00 | 5.00 |" in lines
    assert "| padded loop, 16 clips | 2.00 | 1.75 | 4.00 | 1.25 |" in lines


@pytest.mark.slow
def test_it_prints_and_writes_what_it_measured(
    benchmark: Any, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"width": 8, "layers": 1, "heads": 2, "feedforward": 16, "position_groups": 2}
    out = tmp_path / "found.json"
    torch.manual_seed(0)
    WAPTransformer(WAPTransformerConfig(160, **sizes)).save_pretrained(tmp_path / "adapter")
    arguments = [str(corpus), "--adapter", str(tmp_path / "adapter"), "--out", str(out)]
    arguments += ["--epochs=1", "--repeats=1", "--threads=1", "--precisions", "fp32"]
    benchmark.main([*arguments, "--batch-clips", "4", "8"])
    found = json.loads(out.read_text())
    assert [run["precision"] for run in found["runs"]] == ["fp32"]
    assert found["runs"][0]["seconds"] > 0
    ways = ["voxadapt, fp32", "padded loop, 4 clips", "padded loop, 8 clips"]
    assert list(found["epochs"]) == ways
    assert all(len(times["seconds"]) == 1 for times in found["epochs"].values())
    printed = capsys.readouterr().out
    assert "| padded loop, 8 clips |" in printed
    assert "1.00" in printed.split("padded loop, 8 clips")[1]
