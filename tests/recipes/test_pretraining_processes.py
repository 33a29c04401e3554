# SPDX-License-Identifier: Apache-2.0
"""Neither the number of processes nor that of passes changes a pretraining run.

Sums are added in another order, so agreement is to 1e-5, relative to values above 1: losses,
monitors, learning rate and gradients at each of over 50 steps, and the student, the teacher,
centers and codebooks after the last.
"""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.recipes.running.checkpoints import load_checkpoint

SCRIPT = Path(__file__).with_name("recorded_pretraining.py")
TOLERANCE = 1e-5
Run = Callable[..., Any]
Gradients = list[list[torch.Tensor]]


@pytest.fixture
def options(pretrain_options: list[str]) -> list[str]:
    """52 steps on batches of about 6 clips, some of which two processes cannot share evenly.

    All objectives are on, and the codebook is fitted to teacher frames at a third and at two
    thirds.
    """
    weights = ("mask_prediction", "reconstruction", "frame_distillation")
    weights += ("utterance_distillation", "local_attributes", "denoising")
    weights += ("prosody", "hidden_prosody")
    objectives = [f"--objectives.{name}=0.5" for name in weights]
    options = [*pretrain_options, *objectives, "--codebook.refit_at=[0.0, 0.34, 0.67]"]
    return [*options, "--adapter.dropout=0", "--epochs=13"]


@pytest.fixture
def record(run_cli: Run) -> Callable[..., Gradients]:
    """Run in this process and return each step's gradients."""

    def run(*arguments: str) -> Gradients:
        with runpy.run_path(str(SCRIPT))["recorded"]() as gradients:
            ran = run_cli("pretrain_adapter", *arguments)
        assert ran.code == 0, ran.err
        return list(gradients)

    return run


def read_log(out: Path) -> list[dict[str, float]]:
    return json.loads((out / "log.json").read_text())


def assert_same_run(one: Path, other: Path) -> None:
    logs, other_logs = read_log(one), read_log(other)
    assert sum("loss" in entry for entry in logs) >= 50
    assert sum("codebook_inertia" in entry for entry in logs) == 3
    assert len(logs) == len(other_logs)
    for entry, other_entry in zip(logs, other_logs, strict=True):
        assert entry == pytest.approx(other_entry, rel=TOLERANCE, abs=TOLERANCE)
    states = [load_checkpoint(out) for out in (one, other)]
    assert states[0] is not None
    assert states[1] is not None
    tensors, other_tensors = states[0]["pretrainer"], states[1]["pretrainer"]
    assert tensors.keys() == other_tensors.keys()
    for name, tensor in tensors.items():
        found, expected = other_tensors[name], tensor
        if name.endswith("query_key_value.bias"):
            # Attention does not see the keys' bias: its gradient is rounding, which AdamW blows up.
            (queries, _, values), (found_queries, _, found_values) = tensor.chunk(3), found.chunk(3)
            expected = torch.cat([queries, values])
            found = torch.cat([found_queries, found_values])
        torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE, msg=name)


def assert_same_gradients(one: Gradients, other: Gradients) -> None:
    assert len(one) == len(other) >= 50
    for step, (gradients, others) in enumerate(zip(one, other, strict=True)):
        assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-3
        for gradient, found in zip(gradients, others, strict=True):
            torch.testing.assert_close(
                found, gradient, rtol=TOLERANCE, atol=TOLERANCE, msg=f"step {step}"
            )


def test_passes_and_processes_do_not_change_the_run(
    record: Callable[..., Gradients], run_process: Run, options: list[str], tmp_path: Path
) -> None:
    one = record(*options, "--passes=1", "--out=one")
    passes = record(*options, "--passes=3", "--out=passes")
    assert_same_run(Path("one"), Path("passes"))
    assert_same_gradients(one, passes)

    options = [*options, "--passes=2", "--out=processes"]
    ran = run_process(SCRIPT, "gradients", *options, processes=2)
    assert ran.code == 0, ran.err
    assert "2 process(es)" in ran.err
    assert_same_run(Path("one"), Path("processes"))
    for rank in range(2):
        assert_same_gradients(one, torch.load(tmp_path / f"gradients.{rank}"))


@pytest.mark.slow
def test_accelerate_starts_two_processes_on_a_cpu(
    record: Callable[..., Gradients], run_process: Run, options: list[str], tmp_path: Path
) -> None:
    one = record(*options, "--out=one")
    options = [*options, "--out=processes"]
    ran = run_process(SCRIPT, "gradients", *options, processes=2, launcher="accelerate")
    assert ran.code == 0, ran.err
    assert "2 process(es)" in ran.err
    assert_same_run(Path("one"), Path("processes"))
    assert_same_gradients(one, torch.load(tmp_path / "gradients.0"))
