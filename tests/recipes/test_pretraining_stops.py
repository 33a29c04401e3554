# SPDX-License-Identifier: Apache-2.0
"""What stops a pretraining: collapse, values that are not finite, a full disk.

Each is one message and exit code 2, leaves what was good as it was, and says what to do.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.adapters import WAPTransformer
from voxadapt.recipes import pretrain_adapter
from voxadapt.recipes.corpora.demo_corpus import make_demo_corpus
from voxadapt.recipes.pretraining import report as pretraining_report
from voxadapt.recipes.pretraining.state import NotFiniteError
from voxadapt.recipes.running.checkpoints import load_checkpoint

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"
# A teacher that is the student itself, on the wrong side of every safeguard.
FORCED = [
    "--optimizer.ema_start=0",
    "--optimizer.ema_end=0",
    "--objectives.center_momentum=1",
    "--optimizer.learning_rate=0.1",
]
Run = Callable[..., Any]


def outcome(out: Path) -> dict[str, bytes]:
    names = ("adapter/model.safetensors", "adapter/codebook.safetensors", "log.json")
    return {name: (out / name).read_bytes() for name in names}


def assert_stopped(ran: Any, *told: str) -> None:
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    for words in told:
        assert words in ran.err


def test_collapse_says_what_to_change_and_leaves_its_curves(
    run_cli: Run, pretrain_options: list[str]
) -> None:
    ran = run_cli("pretrain_adapter", *pretrain_options, "--collapse.std=100", "--out=run")
    assert_stopped(ran, "at step 1, the adapter has collapsed: student_std is", "Lower the learn")
    assert not Path("run/adapter").exists()
    log = json.loads(Path("run/log.json").read_text())
    assert log[-1]["student_std"] < 100
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "Stopped at step 1" in page
    assert "the adapter has collapsed: student_std is" in page


def test_a_loss_that_is_not_finite_names_the_clips_and_leaves_its_curves(
    run_cli: Run, pretrain_options: list[str]
) -> None:
    options = [*pretrain_options, "--out=run", "--checkpoint-steps=1"]
    ran = run_cli("pretrain_adapter", *options, "--optimizer.learning_rate=1e30")
    assert_stopped(ran, "the loss is not finite", "--optimizer.learning_rate")
    (step,) = map(
        int, re.findall(r"at step (\d+), epoch 1, on clips \['(?:hum|noise|tone)_", ran.err)
    )
    state = load_checkpoint(Path("run"))
    assert state is not None
    assert state["progress"]["step"] == step
    assert f"The last good checkpoint, of step {step}, is in run" in ran.err
    assert not Path("run/adapter").exists()
    assert "The loss is not finite" in Path("run/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("failing", ["prepare_frames", "refit_codebook", "train_step"])
def test_a_run_that_failed_before_its_first_step_may_be_started_again(
    failing: str, run_cli: Run, pretrain_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise NotFiniteError("mend the clips")

    options = [*pretrain_options, "--out=run"]
    Path("run").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_adapter, failing, fail)
        ran = run_cli("pretrain_adapter", *options)
    assert_stopped(ran, "mend the clips")
    assert {path.name for path in Path("run").iterdir()} == {"run.json", ".lock"}
    ran = run_cli("pretrain_adapter", *options)
    assert ran.code == 0, ran.err
    assert {"adapter", "tensorboard"} <= {path.name for path in Path("run").iterdir()}


def test_a_run_that_failed_after_a_step_is_not_started_again(
    run_cli: Run, pretrain_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = pretrain_adapter.train_step

    def fail_later(run: Any, *arguments: Any, **options: Any) -> float:
        if run.progress.step == 1:
            raise NotFiniteError("mend the clips")
        return train_step(run, *arguments, **options)

    options = [*pretrain_options, "--out=run"]
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_adapter, "train_step", fail_later)
        assert run_cli("pretrain_adapter", *options).code == 2
    left = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    assert {"log.json", "report.html"} <= {path.name for path in left}
    ran = run_cli("pretrain_adapter", *options)
    assert_stopped(ran, "already holds a run of pretrain_adapter; nothing was overwritten")
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == left
    assert run_cli("pretrain_adapter", *options, "--resume").code == 0


def refuse(*arguments: object, **options: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_the_last_checkpoint(
    run_cli: Run, pretrain_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*pretrain_options, "--out=run", "--checkpoint-steps=1"]
    assert run_cli("pretrain_adapter", *options, "--max-steps=2").code == 0
    checkpoint = Path("run/checkpoint.pt").read_bytes()

    def save_half(state: Any, file: Any) -> None:
        file.write(b"half")
        refuse()

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_half)
        ran = run_cli("pretrain_adapter", *options, "--resume")
    assert_stopped(ran, "No space left on device", "checkpoint stays; make room in run", "--resume")
    assert Path("run/checkpoint.pt").read_bytes() == checkpoint
    assert not list(Path("run").glob("*.unfinished"))

    assert run_cli("pretrain_adapter", *options, "--resume").code == 0
    assert run_cli("pretrain_adapter", *pretrain_options, "--out=whole").code == 0
    assert outcome(Path("run")) == outcome(Path("whole"))


@pytest.mark.parametrize("full", ["tensorboard", "report", "adapter"])
def test_a_disk_that_is_full_for_anything_else_loses_nothing(
    full: str, run_cli: Run, pretrain_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    owner: Any
    owner, function = {
        "tensorboard": (SummaryWriter, "flush"),
        "report": (pretraining_report, "write_aside"),
        "adapter": (WAPTransformer, "save_pretrained"),
    }[full]
    options = [*pretrain_options, "--checkpoint-steps=1", "--out=run"]
    assert run_cli("pretrain_adapter", *options, "--max-steps=2").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, refuse)
        ran = run_cli("pretrain_adapter", *options, "--resume")
    assert_stopped(ran, "run", "cannot be written", "No space left on device", "--resume")
    assert load_checkpoint(Path("run")) is not None
    assert not Path("run/adapter").exists()
    assert not list(Path("run").glob("*.unfinished"))
    assert run_cli("pretrain_adapter", *options, "--resume").code == 0
    assert run_cli("pretrain_adapter", *pretrain_options, "--out=whole").code == 0
    assert outcome(Path("run")) == outcome(Path("whole"))


@pytest.fixture
def demo_options(tmp_path: Path) -> list[str]:
    """The demo corpus and nothing else: all that is asked stands at its default."""
    manifest = make_demo_corpus(tmp_path / "demo")
    return ["--data", str(manifest), "--features", str(tmp_path / "features")]


def read_steps(out: Path) -> list[int]:
    log = json.loads((out / "log.json").read_text())
    return [round(entry["step"]) for entry in log if "loss" in entry]


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [13, 100])
def test_a_forced_collapse_is_caught_within_200_steps(
    epochs: int, run_cli: Run, demo_options: list[str]
) -> None:
    """In a run of 208 steps, and in one of 1,600 that is still warming up at 160."""
    options = [*demo_options, *FORCED, "--epochs", str(epochs), "--max-steps=200", "--out=run"]
    ran = run_cli("pretrain_adapter", *options)
    assert_stopped(ran, "the adapter has collapsed", "Lower the learning rate", "decay closer to 1")
    assert read_steps(Path("run"))[-1] < 200


@pytest.mark.slow
def test_a_healthy_run_on_the_demo_corpus_is_not_stopped(
    run_cli: Run, demo_options: list[str]
) -> None:
    ran = run_cli("pretrain_adapter", *demo_options, "--out=run")
    assert ran.code == 0, ran.err
    assert read_steps(Path("run"))[-1] >= 150
    assert ">Healthy</h1>" in Path("run/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 300 s are too few for it on one slow core
@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"no real speech in {CORPORA}")
def test_a_healthy_run_on_real_speech_is_not_stopped(run_cli: Run, tmp_path: Path) -> None:
    data = [str(CORPORA / name / f"{name}.csv") for name in ("urdu", "baved")]
    options = ["--data", *data, "--features", str(tmp_path / "features"), "--epochs=5"]
    options.append("--precision=bf16")  # where the machine has it: twice as fast
    ran = run_cli("pretrain_adapter", *options, "--out=run")
    assert ran.code == 0, ran.err
    assert read_steps(Path("run"))[-1] >= 200
