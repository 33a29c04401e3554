# SPDX-License-Identifier: Apache-2.0
"""The benchmark of inference: that both sides run one encoder, and that it prints what it found."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def benchmark(load_benchmark: Callable[..., Namespace]) -> Any:
    loaded = load_benchmark("inference", ["models", "timing"])
    before = torch.get_num_threads()
    yield loaded
    torch.set_num_threads(before)


def test_both_sides_run_the_same_encoder(benchmark: Any, tmp_path: Path) -> None:
    clip = benchmark.models.draw_clips(1, 0.5)[0]
    model = benchmark.models.make_hubert("tiny")
    benchmark.models.save_hubert(model, tmp_path)
    ours = benchmark.models.make_ours(tmp_path, "fp32")
    assert benchmark.models.frames_agree(model, ours, clip) < 1e-5
    with torch.no_grad():
        model.hubert.encoder.layers[-1].final_layer_norm.weight.mul_(1.1)
    assert benchmark.models.frames_agree(model, ours, clip) > 1e-2
    found = benchmark.models.make_pipeline(model)({"raw": clip, "sampling_rate": 16_000})
    assert {entry["label"] for entry in found} == set(benchmark.models.LABELS)


def test_it_measures_writes_and_prints(
    benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--sizes", "tiny", "--clips", "3", "--seconds", "0.5", "--rounds", "2"]
    fewer = ["--repeats", "4", "--starts", "0", "--threads", "1", "--no-bf16"]
    benchmark.main.main([*small, *fewer, "--out", str(tmp_path / "found.json")])
    printed = capsys.readouterr().out
    for cell in ("HuBERT tiny", "pipeline, one by one", "predict, fp32", "samples", "WAV file"):
        assert f"| {cell} |" in printed
    assert "bf16" not in printed
    found = json.loads((tmp_path / "found.json").read_text())
    (throughput,) = found["throughput"]
    assert all(len(times) == 2 for times in throughput["seconds"].values())
    assert all(len(times) == 4 for times in found["one_clip"].values())


def test_the_ratio_is_that_of_the_medians_and_judged(benchmark: Any) -> None:
    seconds = {"pipeline, one by one": [9.0, 6.0, 7.0], "predict, fp32": [2.0, 9.0, 1.0]}
    found = {"size": "tiny", "seconds": seconds, "cpu": seconds}
    slow, fast = benchmark.main.throughput_lines(found, 14)
    assert slow == "| HuBERT tiny | pipeline, one by one | 7.00 | 7.00 | 2.0 | 1.00 |  |"
    assert fast == "| HuBERT tiny | predict, fp32 | 2.00 | 2.00 | 7.0 | 3.50 | 3 times: met |"
    seconds["predict, fp32"] = [3.0]
    assert benchmark.main.throughput_lines(found, 14)[1].endswith("3 times: missed |")


def test_one_slow_prediction_in_ten_misses_the_target(benchmark: Any) -> None:
    (line,) = benchmark.main.one_clip_lines({"samples": [0.01] * 9 + [0.09]})
    assert line.startswith("| samples | 10.0 ms | 8")
    assert line.endswith("missed |")
    (line,) = benchmark.main.one_clip_lines({"samples": [0.01] * 10})
    assert line == "| samples | 10.0 ms | 10.0 ms | 30 and 60 ms: met |"


@pytest.mark.slow
def test_starts_are_timed_in_new_processes(benchmark: Any) -> None:
    found = benchmark.timing.time_starts(1, 1)
    lines = benchmark.main.start_lines(found)
    assert lines[0].startswith("| `voxadapt predict`, first prediction |")
    assert found["import voxadapt"][0] < found["voxadapt predict"]["wall"][0]
