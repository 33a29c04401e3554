# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint of pretraining holds is all that the run is."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from voxadapt.recipes.pretraining.codebook_refits import refit_codebook
from voxadapt.recipes.pretraining.corpus_scales import CorpusScales
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun, Progress
from voxadapt.recipes.pretraining.step import train_step
from voxadapt.recipes.running.checkpoints import load_checkpoint
from voxadapt.recipes.running.command_line import UsageError

Make = Callable[..., PretrainingRun]


def everything(run: PretrainingRun) -> dict[str, Any]:
    tensors = {name: tensor.clone() for name, tensor in run.pretrainer.state_dict().items()}
    return {"tensors": tensors, "optimizer": run.optimizer.state_dict(), "progress": run.progress}


def test_a_restored_run_goes_on_bit_for_bit(make_run: Make) -> None:
    run = make_run(**{"adapter.dropout": 0.2})
    assert run.restore() is False
    refit_codebook(run, 0.0)
    for _ in range(2):
        train_step(run, [0, 1, 2, 3, 4], 0.1)
        run.progress.step += 1
    run.save()
    saved = everything(run)
    train_step(run, [0, 1, 2], 0.2)

    torch.manual_seed(99)
    other = make_run(**{"adapter.dropout": 0.2})
    assert other.restore() is True
    assert other.progress == Progress(step=2, fits=1, log=saved["progress"].log[:3])
    for name, tensor in saved["tensors"].items():
        assert torch.equal(other.pretrainer.state_dict()[name], tensor), name
    train_step(other, [0, 1, 2], 0.2)
    for name, tensor in run.pretrainer.state_dict().items():
        assert torch.equal(other.pretrainer.state_dict()[name], tensor), name


def test_the_checkpoint_holds_teacher_centers_and_codebooks(make_run: Make) -> None:
    names = make_run().pretrainer.state_dict().keys()
    for prefix in ("student.", "teacher.", "predictor.", "attribute_classifier."):
        assert any(name.startswith(prefix) for name in names)
    assert names >= {
        "frame_center",
        "utterance_center",
        "attributes_from_teacher",
        "input_codebook.centroids",
        "teacher_codebook.centroids",
        "student.adapter.standardize.mean",
    }


def test_whatever_is_lost_in_memory_is_in_the_checkpoint(make_run: Make) -> None:
    """Every tensor of student, teacher, heads, centers, codebooks and optimiser comes back."""
    run = make_run()
    refit_codebook(run, 0.0)
    train_step(run, [0, 1, 2, 3, 4], 0.1)
    run.save()
    saved = {name: tensor.clone() for name, tensor in run.pretrainer.state_dict().items()}
    moments = copy.deepcopy(run.optimizer.state_dict())
    for name, tensor in run.pretrainer.state_dict().items():
        lost = ~tensor if tensor.dtype == torch.bool else torch.full_like(tensor, 7.0)
        tensor.copy_(lost)
        assert not torch.equal(tensor, saved[name]), name
    for state in run.optimizer.state_dict()["state"].values():
        for tensor in state.values():
            tensor.fill_(7.0)
    assert run.restore()
    for name, tensor in run.pretrainer.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
    found = run.optimizer.state_dict()
    assert found["param_groups"] == moments["param_groups"]
    assert moments["state"]
    for key, state in moments["state"].items():
        for name, tensor in state.items():
            assert torch.equal(found["state"][key][name], tensor), (key, name)


@pytest.mark.parametrize("change", ["clips", "lengths", "backbone"])
def test_a_run_is_not_resumed_on_other_frames(
    change: str, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run([14, 9, 11]).save()
    assert make_run([14, 9, 11]).restore()
    other = make_run([14, 11, 9] if change == "lengths" else [14, 9, 11])
    if change == "clips":
        other.corpus.clips[1].id = "another"
    if change == "backbone":
        monkeypatch.setattr(other.backbone, "fingerprint", lambda: "e" * 64)
    with pytest.raises(UsageError, match="--resume found a run on other clips"):
        other.restore()


def test_a_run_is_not_resumed_on_other_corpora(make_run: Make) -> None:
    def run_of(*corpora: int) -> PretrainingRun:
        run, ones = make_run([14, 9, 11]), torch.ones(2, 6)
        run.scales = CorpusScales(torch.tensor(corpora), ones, ones, ones[0], ones[0])
        return run

    run_of(0, 1, 1).save()
    assert run_of(0, 1, 1).restore()
    for other in (run_of(0, 0, 1), make_run([14, 9, 11])):
        with pytest.raises(UsageError, match="clips of other lengths or corpora"):
            other.restore()


@pytest.mark.parametrize("name", ["student.adapter.norm.weight", "teacher_codebook.centroids"])
def test_weights_that_are_not_finite_are_not_saved(name: str, make_run: Make) -> None:
    run = make_run()
    tensor = run.pretrainer.state_dict()[name]
    kept = tensor.clone()
    tensor.view(-1)[0] = float("inf")
    with pytest.raises(NotFiniteError, match=f"{name} is not finite.* No checkpoint has been"):
        run.save()
    assert load_checkpoint(run.out) is None
    tensor.copy_(kept)
    run.progress.step = 5
    run.save()
    tensor.view(-1)[0] = float("nan")
    with pytest.raises(NotFiniteError, match=r"The last good checkpoint, of step 5, is in"):
        run.save()
    state = load_checkpoint(run.out)
    assert state is not None
    assert torch.equal(state["pretrainer"][name], kept)


def test_the_budget_is_in_frames(make_run: Make) -> None:
    assert make_run(batch_seconds=3.0).budget == 150
    assert make_run(batch_seconds=0.001).budget == 1
