# SPDX-License-Identifier: Apache-2.0
"""``pretrain_adapter`` from the command line: what it leaves, and that nothing changes the result.

The same result means bit for bit on one process; over several, or several passes, sums are added in
another order, and 1e-4 is asked.
"""

import json
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from voxadapt.adapters import WAPTransformer
from voxadapt.recipes.checkpoints import load_checkpoint

OBJECTIVES = {
    "mask_prediction",
    "frame_distillation",
    "utterance_distillation",
    "local_attributes",
}


def read_log(out: Path) -> list[dict[str, float]]:
    return json.loads((out / "log.json").read_text())


def outcome(out: Path) -> dict[str, bytes]:
    """The bytes of all that a resumed run must have in common with one that was not stopped."""
    names = ("adapter/model.safetensors", "adapter/codebook.safetensors", "log.json")
    return {name: (out / name).read_bytes() for name in names}


def assert_same_to_tolerance(one: Path, other: Path) -> None:
    """Losses, learning rates, monitors, EMA, centers, codebooks and weights agree to 1e-4."""
    logs, other_logs = read_log(one), read_log(other)
    assert len(logs) == len(other_logs)
    for entry, other_entry in zip(logs, other_logs, strict=True):
        assert entry == pytest.approx(other_entry, rel=1e-4, abs=1e-4)
    states = [load_checkpoint(out) for out in (one, other)]
    assert states[0] is not None
    assert states[1] is not None
    tensors, other_tensors = states[0]["pretrainer"], states[1]["pretrainer"]
    assert tensors.keys() == other_tensors.keys()
    for name, tensor in tensors.items():
        if name.endswith("query_key_value.bias"):
            # Attention does not see the keys' bias: its gradient is rounding, which AdamW blows up.
            queries, _, values = tensor.chunk(3)
            other_queries, _, other_values = other_tensors[name].chunk(3)
            torch.testing.assert_close(queries, other_queries, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(values, other_values, rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(tensor, other_tensors[name], rtol=1e-4, atol=1e-4)


def test_leaves_an_adapter_that_loads_with_where_it_comes_from(pretrained: Path) -> None:
    adapter = WAPTransformer.from_pretrained(pretrained / "adapter")
    assert (adapter.input_size, adapter.output_size) == (160, 16)
    assert adapter.extras["backbone"]["type"] == "fbank"
    assert adapter.extras["clips"] == 25
    assert adapter.standardize.std.ne(1).all()
    centroids = load_file(pretrained / "adapter" / "codebook.safetensors")["centroids"]
    assert centroids.shape == (8, 16)
    log = [entry for entry in read_log(pretrained) if "loss" in entry]
    assert len(log) == adapter.extras["steps"]
    for entry in log:
        assert entry.keys() >= OBJECTIVES
        assert all(entry[name] > 0 for name in OBJECTIVES)
    assert any((pretrained / "tensorboard").iterdir())


def test_two_steps_train_the_student_and_move_the_teacher_after_it(
    run_cli: Callable[..., Any], pretrain_options: list[str]
) -> None:
    for steps in (0, 2):
        out = f"after-{steps}"
        ran = run_cli("pretrain_adapter", *pretrain_options, "--out", out, "--max-steps", steps)
        assert ran.code == 0, ran.err
        assert f"stopped after {steps} steps" in ran.err
        assert not Path(out, "adapter").exists()
    start, end = (load_checkpoint(Path(f"after-{steps}")) for steps in (0, 2))
    assert start is not None
    assert end is not None
    assert end["progress"]["step"] == 2
    moved = {
        name: float((end["pretrainer"][name] - start["pretrainer"][name]).abs().max())
        for name in start["pretrainer"]
        if name.endswith("feedforward_input.weight")
    }
    students = {name: change for name, change in moved.items() if name.startswith("student")}
    assert students
    for name, change in students.items():
        assert 0 < moved[name.replace("student", "teacher", 1)] < 0.1 * change


@pytest.mark.parametrize("passes", [1, 2])
def test_resume_is_bit_for_bit_the_run_that_was_not_stopped(
    passes: int, run_cli: Callable[..., Any], pretrain_options: list[str]
) -> None:
    options = [*pretrain_options, "--passes", passes, "--checkpoint-steps=3"]
    assert run_cli("pretrain_adapter", *options, "--out=whole").code == 0
    whole = outcome(Path("whole"))
    refits = [entry["step"] for entry in read_log(Path("whole")) if "codebook_inertia" in entry]
    steps = sum("loss" in entry for entry in read_log(Path("whole")))
    assert len(refits) == 3

    # Stopped before the first refit, between the refits, and right where the second one is due.
    stops = [1, int(refits[1]) + 1, int(refits[2])]
    assert 0 < stops[0] < refits[1] < stops[1] < stops[2] < steps
    for stop in stops:
        ran = run_cli("pretrain_adapter", *options, "--out=parts", "--resume", "--max-steps", stop)
        assert ran.code == 0, ran.err
    ran = run_cli("pretrain_adapter", *options, "--out=parts", "--resume")
    assert f"step {stops[-1]}" in ran.err
    assert outcome(Path("parts")) == whole


def test_resume_of_a_finished_run_changes_nothing(
    run_cli: Callable[..., Any], pretrain_options: list[str]
) -> None:
    options = [*pretrain_options, "--out=run"]
    assert run_cli("pretrain_adapter", *options).code == 0
    before = outcome(Path("run"))
    assert run_cli("pretrain_adapter", *options, "--resume").code == 0
    assert outcome(Path("run")) == before


def kill_at_random(process: Any, out: Path, *, at_once: bool = False) -> str:
    """SIGKILL a run at a random moment, by default after it has written a checkpoint; say when."""

    def written() -> int:
        path = out / "checkpoint.pt"
        return path.stat().st_mtime_ns if path.exists() else 0

    started, before = time.monotonic(), written()
    if at_once:
        time.sleep(random.uniform(0.5, 5.0))
    else:
        while written() == before and process.poll() is None:
            assert time.monotonic() - started < 120
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.3))
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return f"killed after {time.monotonic() - started:.3f} s{', had ended' if ended else ''}"


def test_a_killed_run_resumed_is_bit_for_bit_the_run_that_was_not(
    run_cli: Callable[..., Any],
    start_process: Callable[..., Any],
    pretrain_options: list[str],
    tmp_path: Path,
) -> None:
    options = [*pretrain_options, "--epochs=6", "--checkpoint-steps=1"]
    assert run_cli("pretrain_adapter", *options, "--out=whole").code == 0
    process = start_process("pretrain_adapter", *options, "--out=killed")
    when = kill_at_random(process, tmp_path / "killed")
    ran = run_cli("pretrain_adapter", *options, "--out=killed", "--resume")
    assert ran.code == 0, (when, ran.err)
    assert outcome(Path("killed")) == outcome(Path("whole")), when
    assert not list(Path("killed").glob("*.unfinished"))


@pytest.mark.slow
def test_a_run_killed_five_times_is_bit_for_bit_the_run_that_was_not(
    run_process: Callable[..., Any],
    start_process: Callable[..., Any],
    pretrain_options: list[str],
    tmp_path: Path,
) -> None:
    # A feature cache of its own: extraction is killed as well.
    options = [*pretrain_options, "--epochs=40", "--checkpoint-steps=2"]
    options += ["--features", str(tmp_path / "features")]
    moments = []
    for kill in range(5):
        process = start_process("pretrain_adapter", *options, "--out=killed", "--resume")
        moments.append(kill_at_random(process, tmp_path / "killed", at_once=kill == 0))
    ran = run_process("pretrain_adapter", *options, "--out=killed", "--resume")
    assert ran.code == 0, (moments, ran.err)
    assert run_process("pretrain_adapter", *options, "--out=whole").code == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole"), moments


def test_passes_and_processes_do_not_change_the_run(
    run_cli: Callable[..., Any],
    run_process: Callable[..., Any],
    pretrain_options: list[str],
    tmp_path: Path,
) -> None:
    # 3 s of audio are about 6 clips: some batches leave a process a clip less than the other.
    options = [*pretrain_options, "--adapter.dropout=0"]
    assert run_cli("pretrain_adapter", *options, "--passes=1", "--out=one").code == 0
    assert run_cli("pretrain_adapter", *options, "--passes=2", "--out=passes").code == 0
    options += ["--passes=1", "--out=processes"]
    ran = run_process("pretrain_adapter", *options, processes=2)
    assert ran.code == 0, ran.err
    assert "2 process(es)" in ran.err
    assert_same_to_tolerance(tmp_path / "one", tmp_path / "passes")
    assert_same_to_tolerance(tmp_path / "one", tmp_path / "processes")


def test_collapse_stops_the_run_and_says_what_to_change(
    run_cli: Callable[..., Any], pretrain_options: list[str]
) -> None:
    ran = run_cli("pretrain_adapter", *pretrain_options, "--collapse.std=100", "--out=run")
    assert ran.code == 2
    assert "collapsed: student_std is" in ran.err
    assert "Lower the learning rate" in ran.err
    assert "Traceback" not in ran.err
    assert not Path("run/adapter").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_clips(
    run_cli: Callable[..., Any], pretrain_options: list[str]
) -> None:
    options = [*pretrain_options, "--out=run", "--checkpoint-steps=1"]
    ran = run_cli("pretrain_adapter", *options, "--optimizer.learning_rate=1e30")
    assert ran.code == 2
    assert "the loss is not finite" in ran.err
    assert re.search(r"on clips \['(hum|noise|tone)_", ran.err)
    assert "--optimizer.learning_rate" in ran.err
    assert not Path("run/adapter").exists()


def test_a_full_disk_keeps_the_last_checkpoint(
    run_cli: Callable[..., Any], pretrain_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*pretrain_options, "--out=run", "--checkpoint-steps=1"]
    assert run_cli("pretrain_adapter", *options, "--max-steps=2").code == 0
    checkpoint = Path("run/checkpoint.pt").read_bytes()
    save = torch.save

    def save_half(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save_half)
    ran = run_cli("pretrain_adapter", *options, "--resume")
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert "--resume" in ran.err
    assert Path("run/checkpoint.pt").read_bytes() == checkpoint
    assert not list(Path("run").glob("*.unfinished"))

    monkeypatch.setattr(torch, "save", save)
    assert run_cli("pretrain_adapter", *options, "--resume").code == 0
    assert run_cli("pretrain_adapter", *pretrain_options, "--out=whole").code == 0
    assert outcome(Path("run"))["log.json"] == outcome(Path("whole"))["log.json"]


def test_student_can_be_exported(
    run_cli: Callable[..., Any], pretrain_options: list[str], pretrained: Path
) -> None:
    ran = run_cli("pretrain_adapter", *pretrain_options, "--export=student", "--out=student")
    assert ran.code == 0, ran.err
    state = load_checkpoint(Path("student"))
    assert state is not None
    exported = load_file("student/adapter/model.safetensors")
    for name, tensor in exported.items():
        assert torch.equal(tensor, state["pretrainer"][f"student.adapter.{name}"])
    teacher = load_file(pretrained / "adapter" / "model.safetensors")
    assert not torch.equal(teacher["mask_embedding"], exported["mask_embedding"])


def test_bf16_runs_and_differs_little(
    run_cli: Callable[..., Any], pretrain_options: list[str], pretrained: Path
) -> None:
    ran = run_cli("pretrain_adapter", *pretrain_options, "--precision=bf16", "--out=half")
    assert ran.code == 0, ran.err
    losses = [entry["loss"] for entry in read_log(Path("half")) if "loss" in entry]
    whole = [entry["loss"] for entry in read_log(pretrained) if "loss" in entry]
    assert losses != whole
    assert losses == pytest.approx(whole, rel=0.05)


def test_a_sum_that_is_learnt_is_no_ground_to_pretrain_on(
    run_cli: Callable[..., Any], pretrain_options: list[str], hubert_folder: Path
) -> None:
    options = [*pretrain_options, "--backbone", hubert_folder, "--layer=weighted", "--out=run"]
    ran = run_cli("pretrain_adapter", *options)
    assert ran.code == 2
    assert "--layer weighted: an adapter cannot be pretrained on a sum" in ran.err
    assert "--layer mean" in ran.err
    assert not Path("run").exists()
