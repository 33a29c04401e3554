# SPDX-License-Identifier: Apache-2.0
"""The benchmark of pretraining: what it counts, and that it prints, on tiny sizes."""

import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from voxadapt.recipes.pretraining import student_view

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--widths", "16", "--batch-seconds", "5", "--batches", "2", "--repeats", "2"]
TINY += ["--threads", "1", "--matrix-size", "32"]


@pytest.fixture
def parts(load_benchmark: Callable[..., Namespace]) -> Iterator[Namespace]:
    """The two modules of the benchmark."""
    yield load_benchmark("pretraining", ["run"])
    forget_processes()


def forget_processes() -> None:
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def make_run(parts: Namespace, tmp_path: Path) -> Callable[[], Any]:
    def make() -> Any:
        options = parts.main.parse(TINY)
        store = parts.run.make_corpus(tmp_path, options.batches, options.batch_seconds, seed=0)
        return parts.run.make_run(store, tmp_path, 16, options)

    return make


def test_the_corpus_is_of_the_size_that_was_asked_for(make_run: Callable[[], Any]) -> None:
    store = make_run().corpus.store
    assert store.lengths.min() >= 75
    assert store.lengths.max() <= 175
    assert 500 <= store.lengths.sum() < 500 + 175
    frames = store.frames(1)
    assert frames.shape == (store.lengths[1], 768)
    assert 0.9 < frames.astype("float32").std() < 1.1


@pytest.mark.parametrize("off", [None, "frame_distillation", "mask_prediction", "local_attributes"])
def test_operations_are_those_that_torch_counts(
    parts: Namespace, make_run: Callable[[], Any], off: str | None
) -> None:
    run = make_run()
    objectives = run.options.objectives
    if off:
        object.__setattr__(objectives, off, 0.0)
    length = int(run.corpus.store.lengths[0])
    frames = torch.from_numpy(run.corpus.store.frames(0).astype("float32"))[None]
    padding_mask = torch.zeros(1, length, dtype=torch.bool)
    span_mask = torch.zeros(1, length, dtype=torch.bool)
    span_mask[0, : round(run.options.masking.ratio * length)] = True
    # The counter knows neither oneDNN's operators nor every fused attention.
    with (
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        sums = run.pretrainer(frames, padding_mask, span_mask, torch.ones(1))
        sum(sums.losses.values()).backward()
    # The counter takes the gradient of a grouped convolution's weight for that of a whole one.
    config = run.pretrainer.student.adapter.config
    groups, per_group = config.position_groups, config.width // config.position_groups
    position = 2 * length * config.width * per_group * config.position_kernel
    counted = counter.get_total_flops() - (groups - 1) * position
    # Half a frame at most is what rounding the hidden ones does.
    assert parts.run.step_flops(run, [0]) == pytest.approx(counted, rel=1e-3)


def test_waiting_is_the_time_that_reading_takes(
    parts: Namespace, make_run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    read = run.corpus.store.frames

    def slow(index: int) -> Any:
        time.sleep(0.01)
        return read(index)

    monkeypatch.setattr(run.corpus.store, "frames", slow)
    timed = parts.main.time_steps(run, [[0, 1], [2, 3]])
    assert 0.02 <= timed.waiting < timed.step
    assert run.progress.step == 2
    assert len(run.progress.log) == 1


def test_table_and_json(
    parts: Namespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sub" / "results.json"
    parts.main.main([*TINY, "--out", str(out)])
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert results["setup"]["batch_seconds"] == 5
    (row,) = results["rows"]
    assert row["width"] == 16
    assert len(row["rounds"]) == len(row["rate_rounds"]["torch.matmul"]) == 2
    assert set(row["matrix_rates"]) == {"torch.matmul", "adapters.dense"}
    floor = row["step_flops"] / row["matrix_rates"]["torch.matmul"]
    assert row["share_of_torch_matmul"] == pytest.approx(floor / row["step_seconds"])
    assert row["share_of_best"] <= row["share_of_torch_matmul"]
    assert row["share_met"] == (row["share_of_torch_matmul"] >= 0.6)
    assert 0 < row["waiting"] < 1
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1
    for text in ("(≥ 0.60)", "(< 5%)", "torch.matmul", "adapters.dense", "| 16 (0.0 M) |"):
        assert text in printed


def test_frames_of_the_filterbank_are_augmented_in_bands(
    parts: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands = []
    augment = student_view.augment_frames

    def note(*arguments: Any, **options: Any) -> Any:
        bands.append(options["bands"])
        return augment(*arguments, **options)

    monkeypatch.setattr(student_view, "augment_frames", note)
    parts.main.main([*TINY, "--frames", "fbank"])
    assert set(bands) == {80}
    bands.clear()
    forget_processes()
    parts.main.main(TINY)
    assert set(bands) == {None}


def test_adapters_are_compiled_where_that_is_asked_for(
    parts: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled.append(how))
    options = parts.main.parse([*TINY, "--compile"])
    store = parts.run.make_corpus(tmp_path, options.batches, options.batch_seconds, seed=0)
    parts.run.make_run(store, tmp_path, 16, options)
    assert compiled == [{"dynamic": True}] * 2  # student and teacher


def test_the_adapter_has_the_width_and_the_usual_proportions(
    parts: Namespace, make_run: Callable[[], Any], tmp_path: Path
) -> None:
    store = make_run().corpus.store
    sizes = {}
    for width in (192, 768):
        forget_processes()
        run = parts.run.make_run(store, tmp_path, width, parts.main.parse([]))
        sizes[width] = run.pretrainer.student.adapter.config
        assert run.budget == 3000
    assert sizes[192] == type(sizes[192])(input_size=768)  # the default
    assert (sizes[768].width, sizes[768].heads, sizes[768].feedforward) == (768, 12, 3072)
