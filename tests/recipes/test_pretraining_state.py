# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint of pretraining holds is all that the run is."""

from collections.abc import Callable
from typing import Any

import torch

from voxadapt.recipes.codebook_refits import refit_codebook
from voxadapt.recipes.pretraining_state import PretrainingRun, Progress
from voxadapt.recipes.pretraining_step import train_step

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


def test_the_budget_is_in_frames(make_run: Make) -> None:
    assert make_run(batch_seconds=3.0).budget == 150
    assert make_run(batch_seconds=0.001).budget == 1
