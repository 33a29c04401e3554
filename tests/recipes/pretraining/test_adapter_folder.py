# SPDX-License-Identifier: Apache-2.0
"""What a finished pretraining run leaves."""

import os
import stat
from collections.abc import Callable

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from voxadapt.adapters import WAPTransformer
from voxadapt.recipes.pretraining import adapter_folder
from voxadapt.recipes.pretraining.adapter_folder import model_card, save_adapter
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.running.command_line import UsageError

Make = Callable[..., PretrainingRun]


@pytest.mark.parametrize("branch", ["teacher", "student"])
def test_the_branch_asked_for_is_saved_with_where_it_comes_from(
    branch: str, make_run: Make
) -> None:
    run = make_run([50 * 1800, 50], export=branch, licence="cc-by-4.0")
    torch.nn.init.normal_(run.pretrainer.student.adapter.norm.weight)
    run.progress.step = 7
    folder = save_adapter(run)
    assert folder == run.out / "adapter"
    saved = WAPTransformer.from_pretrained(folder)
    expected = getattr(run.pretrainer, branch).adapter.state_dict()
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, expected[name])
    extras = saved.extras
    assert extras["backbone"] == {"type": "toy"}
    assert extras["backbone_fingerprint"] == "f" * 64
    assert (extras["clips"], extras["steps"], extras["hours"]) == (2, 7, 0.5)
    assert extras["options"]["objectives"]["prototypes"] == 5

    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "license: cc-by-4.0" in card
    assert "on 0.5 h of speech (2 clips,\n7 steps" in card
    assert "7 steps, seed 0).\n" in card
    saved.extras["corpora"] = 2
    assert "seed 0); 2 corpora, each standardised on its own.\n" in model_card(saved, run.options)
    for file in folder.iterdir():
        assert file.stat().st_mode & stat.S_IRGRP, f"{file.name}: only its owner can read it"


@pytest.mark.parametrize("from_teacher", [False, True])
def test_the_codebook_in_use_is_saved(from_teacher: bool, make_run: Make) -> None:
    run = make_run()
    run.pretrainer.attributes_from_teacher.fill_(from_teacher)
    torch.nn.init.normal_(run.pretrainer.input_codebook.centroids)
    torch.nn.init.normal_(run.pretrainer.teacher_codebook.centroids)
    path = save_adapter(run) / "codebook.safetensors"
    codebook = run.pretrainer.teacher_codebook if from_teacher else run.pretrainer.input_codebook
    assert torch.equal(load_file(path)["centroids"], codebook.centroids)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"frames": "teacher" if from_teacher else "input"}


def test_without_attributes_there_is_no_codebook(make_run: Make) -> None:
    run = make_run(**{"objectives.local_attributes": 0.0})
    names = {file.name for file in save_adapter(run).iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}


class Killed(BaseException):
    """As a process is: nothing after it runs, but what tidies up."""


@pytest.mark.parametrize("function", ["save_pretrained", "model_card", "fsync"])
def test_a_folder_is_whole_or_not_there(
    function: str, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        assert not (run.out / "adapter").exists()
        raise Killed

    run = make_run()
    owner = {"save_pretrained": WAPTransformer, "model_card": adapter_folder, "fsync": os}[function]
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, interrupt)
        with pytest.raises(Killed):
            save_adapter(run)
    assert list(run.out.iterdir()) == []
    WAPTransformer.from_pretrained(save_adapter(run))


def test_a_full_disk_keeps_the_old_adapter_and_says_what_to_do(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    before = {path.name: path.read_bytes() for path in save_adapter(run).iterdir()}
    torch.nn.init.normal_(run.pretrainer.teacher.adapter.norm.weight)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(WAPTransformer, "save_pretrained", refuse)
        with pytest.raises(
            UsageError, match=r"adapter: cannot be written .*No space left.*--resume"
        ):
            save_adapter(run)
    folder = run.out / "adapter"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    save_adapter(run)
    assert (folder / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert [path.name for path in run.out.iterdir()] == ["adapter"]
