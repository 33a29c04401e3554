# SPDX-License-Identifier: Apache-2.0
"""``pretrain_adapter`` from the command line: what it leaves, and that nothing changes the result.

The same result means bit for bit on one process; over several, or several passes, sums are added in
another order, and 1e-4 is asked.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from voxadapt.adapters import ObjectivesConfig, WAPTransformer
from voxadapt.recipes import pretrain_adapter
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.running.checkpoints import load_checkpoint

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


def logged_steps(out: Path) -> tuple[list[int], list[int], list[int]]:
    """The steps of log.json, and those of TensorBoard with a loss and with a fit's inertia."""
    board = EventAccumulator(str(out / "tensorboard")).Reload()
    fits = [event.step for event in board.Scalars("codebook_inertia")]
    losses = [event.step for event in board.Scalars("loss")]
    return [round(entry["step"]) for entry in read_log(out) if "loss" in entry], losses, fits


def test_the_last_step_is_logged_and_once_however_a_run_came_to_it(
    run_cli: Callable[..., Any],
    pretrain_options: list[str],
    pretrained: Path,
    wait_a_second: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [*pretrain_options, "--log-steps=5", "--checkpoint-steps=2"]
    steps = len([entry for entry in read_log(pretrained) if "loss" in entry])
    fits = [round(entry["step"]) for entry in read_log(pretrained) if "codebook_inertia" in entry]
    expected = sorted({*range(0, steps, 5), steps - 1})
    assert (steps - 1) % 5  # and the last step of the first epoch is not logged either
    assert (steps // 2 - 1) % 5
    assert run_cli("pretrain_adapter", *options, "--out=whole").code == 0
    assert logged_steps(Path("whole")) == (expected, expected, fits)
    # What is logged changes no weight.
    weights = "adapter/model.safetensors"
    assert Path("whole", weights).read_bytes() == (pretrained / weights).read_bytes()

    # Stopped right before the last step, and resumed twice.
    more = [f"--max-steps={steps - 1}"]
    assert run_cli("pretrain_adapter", *options, "--out=stopped", *more).code == 0
    assert logged_steps(Path("stopped"))[0] == expected[:-1]
    # Killed right after it, before it is saved.
    save = PretrainingRun.save

    def die_at_the_end(run: PretrainingRun) -> None:
        if run.progress.step == steps:
            raise KeyboardInterrupt
        save(run)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingRun, "save", die_at_the_end)
        assert run_cli("pretrain_adapter", *options, "--out=killed").code == 130
    wait_a_second()
    for out in ("stopped", "killed"):
        for _ in range(2):
            assert run_cli("pretrain_adapter", *options, "--out", out, "--resume").code == 0
            assert logged_steps(Path(out)) == (expected, expected, fits)
            assert outcome(Path(out)) == outcome(Path("whole"))


def test_resume_of_a_finished_run_changes_nothing(
    run_cli: Callable[..., Any], pretrain_options: list[str]
) -> None:
    options = [*pretrain_options, "--out=run"]
    assert run_cli("pretrain_adapter", *options).code == 0
    before = outcome(Path("run"))
    assert run_cli("pretrain_adapter", *options, "--resume").code == 0
    assert outcome(Path("run")) == before


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


def test_prosody_alone_is_refused_for_an_encoder_whose_features_are_no_bands(
    run_cli: Callable[..., Any], pretrain_options: list[str], hubert_folder: Path
) -> None:
    others = set(ObjectivesConfig().weights()) - {"prosody", "hidden_prosody"}
    options = [*pretrain_options, "--backbone", hubert_folder, "--layer=1", "--out=run"]
    options += [f"--objectives.{name}=0" for name in sorted(others)]
    ran = run_cli("pretrain_adapter", *options, "--objectives.prosody=4")
    assert ran.code == 2
    assert "--objectives: found 0 for all but prosody and hidden_prosody" in ran.err
    assert "give another objective a weight" in ran.err
    assert not Path("run").exists()


def test_several_corpora_are_heard_at_one_scale(
    run_cli: Callable[..., Any],
    pretrain_options: list[str],
    corpus_rows: list[dict[str, str]],
    write_rows: Callable[..., Path],
) -> None:
    """Two manifests and one with a column `corpus` are the same run; without it, another."""
    halves = [corpus_rows[:13], corpus_rows[13:]]
    manifests = [write_rows(half, f"half-{row}.csv") for row, half in enumerate(halves)]
    # What is drawn for a clip depends on its id, so both ways get the same ids.
    named = [
        {**clip, "id": f"{row}:{clip['id']}", "corpus": str(row)}
        for row, half in enumerate(halves)
        for clip in half
    ]
    anonymous = [{key: clip[key] for key in clip if key != "corpus"} for clip in named]
    data = {
        "two": manifests,
        "column": [write_rows(named, "column.csv")],
        "one": [write_rows(anonymous, "one.csv")],
    }
    found = {}
    for out, paths in data.items():
        options = [*pretrain_options, "--data", *map(str, paths), "--allow-outside", "--out", out]
        ran = run_cli("pretrain_adapter", *options)
        assert ran.code == 0, ran.err
        found[out] = outcome(Path(out))
    assert found["two"] == found["column"]
    assert found["two"]["log.json"] != found["one"]["log.json"]


def test_the_command_that_is_printed_gets_the_same_frames() -> None:
    assert pretrain_adapter.same_frames(PretrainOptions(data=["a.csv"])) == ""
    options = PretrainOptions(data=["a.csv"], backbone="my encoders/hubert", layer=9)
    assert pretrain_adapter.same_frames(options) == " --backbone 'my encoders/hubert' --layer 9"
    options = dataclasses.replace(options, revision="v2", whisper_context="clip")
    assert pretrain_adapter.same_frames(options).endswith(
        " --layer 9 --revision v2 --whisper-context clip"
    )


def test_the_python_of_the_model_card_runs(
    pretrained: Path, corpus_rows: list[dict[str, str]]
) -> None:
    card = (pretrained / "adapter" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    for name, found in (
        ("THIS_FOLDER", str(pretrained / "adapter")),
        ("a.wav", corpus_rows[0]["path"]),
        ("b.wav", corpus_rows[1]["path"]),
    ):
        assert f'"{name}"' in code
        code = code.replace(f'"{name}"', repr(found))
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["enriched"].shape[::2] == (2, 16)
    assert "layer" not in card.split("- size")[0]  # the filterbank has none
