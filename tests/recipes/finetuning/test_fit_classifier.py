# SPDX-License-Identifier: Apache-2.0
"""How a classifier is trained, epoch by epoch."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from voxadapt.recipes.finetuning import fit_classifier
from voxadapt.recipes.finetuning.fit_classifier import fit, plan_epoch, validate
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.linear_start import start_linear
from voxadapt.recipes.finetuning.options import FinetuneOptimizerOptions, HeadOptions
from voxadapt.recipes.finetuning.run_once import fit_and_log
from voxadapt.recipes.running.checkpoints import load_checkpoint
from voxadapt.recipes.running.command_line import UsageError

Make = Callable[..., Any]


def test_fit_leaves_the_chosen_weights_in_place_and_validates_every_epoch(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    model = make_model(dropout=0.2)
    state = fit(model, data, make_options(), 0, accelerator, tmp_path)
    assert state is not None
    assert (state.epoch, len(state.history)) == (3, 3)
    assert [entry["epoch"] for entry in state.history] == [0, 1, 2]
    rates = [entry["learning_rate"] for entry in state.history]
    assert make_options().optimizer.learning_rate >= rates[0] > rates[1] > rates[2] > 0
    assert state.step == 3 * 2  # 38 frames in batches of at most 25 padded ones
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state.best_weights[name])
    assert validate(model, data, [5, 6], accelerator, 25) == {
        name: value
        for name, value in state.history[state.best_epoch].items()
        if name.startswith("valid")
    }
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    assert saved.keys() == {"model", "averaged", "optimizer", "state", "data"}
    assert saved["state"]["epoch"] == 3


def test_fit_stops_where_it_is_told_to_and_goes_on(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = fit(make_model(dropout=0.2), data, make_options(), 0, accelerator, tmp_path / "whole")
    for stop in (1, 2):
        options = make_options(max_epochs=stop, resume=True)
        model = make_model(dropout=0.2)
        assert fit(model, data, options, 0, accelerator, tmp_path / "parts") is None
    resumed = make_model(dropout=0.2)
    torch.nn.init.normal_(resumed.linear.weight)  # the checkpoint is what counts
    parts = fit(resumed, data, make_options(resume=True), 0, accelerator, tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    assert whole.history == parts.history
    for name, tensor in whole.best_weights.items():
        assert torch.equal(tensor, parts.best_weights[name])


def test_without_resume_a_checkpoint_is_not_read(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fit_classifier, "load_checkpoint", None)
    assert fit(make_model(), data, make_options(epochs=1), 0, accelerator, tmp_path) is not None


def test_without_averaging_the_last_weights_are_kept(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    optimizer = FinetuneOptimizerOptions(averaging=0.0)
    fit(make_model(), data, make_options(optimizer=optimizer), 0, accelerator, tmp_path)
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    for name, tensor in saved["model"].items():
        torch.testing.assert_close(saved["averaged"][name], tensor)


def test_validation_is_the_mean_over_its_clips(
    data: LabelledFrames, make_model: Make, accelerator: Accelerator
) -> None:
    model = make_model()
    found = validate(model, data, [5, 6], accelerator, 1000)
    probabilities = fit_classifier.classify_clips(
        model, data.store, [5, 6], accelerator, budget=1000
    )
    picked = probabilities[[0, 1], data.targets[[5, 6], 0]]
    assert found["valid_loss"] == pytest.approx(-np.log(picked).mean())
    assert found["valid_wa"] == (probabilities.argmax(axis=1) == data.targets[[5, 6], 0]).mean()


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
def test_an_epoch_s_batches_are_of_the_training_part(
    sampling: str, make_data: Make, make_options: Make
) -> None:
    data = make_data(targets=np.array([0, 0, 0, 1, 0, 1, 0, 1])[:, None])  # the first five train
    options, drawn = make_options(sampling=sampling), []
    for epoch in range(6):
        rows = [row for batch in plan_epoch(data, options, 0, epoch, 25) for row in batch]
        assert len(rows) == 5
        drawn.append(rows)
        counts = np.bincount(data.targets[rows, 0])
        if sampling == "natural":
            assert sorted(rows) == data.splits.train
        else:
            assert sorted(counts) == [2, 3]
            assert rows.count(3) == counts[1]
    assert len({tuple(rows) for rows in drawn}) > 1


def test_a_run_without_patience_left_stops_early(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    still = FinetuneOptimizerOptions(learning_rate=1e-12)
    options = make_options(epochs=9, patience=2, optimizer=still)
    state = fit(make_model(), data, options, 0, accelerator, tmp_path)
    assert state is not None
    assert state.epoch == len(state.history) == 3
    assert state.best_epoch == 2  # the latest of those that are alike


def test_a_standardizer_goes_through_a_resume_and_ends_in_the_linear_layer(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    def standardized() -> Any:
        model = make_model(dropout=0.2)
        start_linear(model, data, make_options(head=HeadOptions(dropout=0.0, probe=0.1)), 0)
        return model

    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    names = list(make_model().state_dict())
    whole = standardized()
    state = fit(whole, data, make_options(), 0, accelerator, tmp_path / "whole")
    assert state is not None
    assert "vector_standardizer.mean" in state.best_weights  # and in the checkpoint with them
    assert list(whole.state_dict()) == names
    # What was validated is what is left in place.
    found = validate(whole, data, [5, 6], accelerator, 25)
    for name, value in found.items():
        assert value == pytest.approx(state.history[state.best_epoch][name], abs=1e-5)

    stopped = make_options(max_epochs=1)
    assert fit(standardized(), data, stopped, 0, accelerator, tmp_path / "parts") is None
    resumed = standardized()
    resumed.vector_standardizer.mean += 1.0  # the checkpoint is what counts
    assert fit(resumed, data, make_options(resume=True), 0, accelerator, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_weights_that_are_not_finite_are_neither_chosen_nor_saved(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take = fit_classifier.train_step
    model = make_model()

    def step_then_spoil(*arguments: Any) -> float:
        loss = take(*arguments)
        if arguments[6].step == 3:  # the last step of the second epoch
            model.linear.bias.data[0] = float("nan")
        return loss

    monkeypatch.setattr(fit_classifier, "train_step", step_then_spoil)
    with pytest.raises(UsageError, match=r"in epoch 2, linear.bias is not finite any more") as told:
        fit(model, data, make_options(), 0, accelerator, tmp_path)
    assert "of epoch 1, is good" in str(told.value)
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    assert saved["state"]["epoch"] == 1
    assert all(bool(torch.isfinite(tensor).all()) for tensor in saved["model"].values())


def test_the_bar_of_a_run_that_is_stopped_ends_its_line(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise UsageError("the loss is not finite")

    monkeypatch.setattr(fit_classifier, "train_step", refuse)
    with pytest.raises(UsageError, match="the loss is not finite") as told:
        fit(make_model(), data, make_options(), 0, accelerator, tmp_path)
    shown = capsys.readouterr().err
    assert told.value.__traceback__ is not None  # which holds the bar while the message is printed
    assert "fine-tuning" in shown
    assert shown.endswith("\n")


def test_a_full_disk_under_the_log_is_a_message(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(accelerator, "log", refuse)
    with pytest.raises(UsageError, match="No space left on device"):
        fit(make_model(), data, make_options(), 0, accelerator, tmp_path)


def test_nothing_of_a_run_is_kept_in_memory_after_it(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    model = make_model()
    held = weakref.ref(model)
    assert fit_and_log(model, data, make_options(epochs=1), 0, accelerator, tmp_path) is not None
    del model
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("change", ["label", "part", "clip", "length", "nothing", "test"])
def test_a_run_is_not_resumed_on_other_data(
    change: str,
    make_data: Make,
    make_model: Make,
    make_options: Make,
    accelerator: Accelerator,
    tmp_path: Path,
) -> None:
    assert (
        fit(make_model(), make_data(), make_options(max_epochs=1), 0, accelerator, tmp_path) is None
    )
    data = make_data()
    if change == "label":
        data.targets[1, 0] = 2
    if change == "part":
        data.splits.train.remove(4)
    if change == "clip":
        data.clips[5].id = "another"
    if change == "length":
        data.store.lengths[2] = 3
    if change == "test":
        data.targets[7, 0] = 2
    resume = make_options(resume=True)
    if change in ("nothing", "test"):
        assert fit(make_model(), data, resume, 0, accelerator, tmp_path) is not None
    else:
        with pytest.raises(UsageError, match="--resume found a run on other training"):
            fit(make_model(), data, resume, 0, accelerator, tmp_path)
