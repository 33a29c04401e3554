# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is whole or not there, and runs no code."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.recipes.running import checkpoints
from voxadapt.recipes.running.checkpoints import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from voxadapt.recipes.running.command_line import UsageError


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    state = {"weights": {"a": torch.arange(3.0)}, "step": 3, "log": [{"loss": 0.1}], "none": None}
    save_checkpoint(tmp_path, state)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded["weights"].pop("a"), state["weights"].pop("a"))
    assert loaded == state
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


class FullDisk:
    """A file that takes some bytes and then no more, wherever the disk is found to be full."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, content: bytes) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return int(self.file.write(content))

    def flush(self) -> None:
        self.file.flush()


@pytest.mark.parametrize("room", [0, 300, 2_000])
def test_a_full_disk_keeps_the_last_one(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"step": 1})
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, FullDisk(file, room)))
    with pytest.raises(UsageError, match=r"cannot be written.*The last good checkpoint stays"):
        save_checkpoint(tmp_path, {"step": 2, "weights": torch.zeros(1_000)})
    assert load_checkpoint(tmp_path) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_a_full_disk_at_the_first_checkpoint_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, FullDisk(file, 0)))
    with pytest.raises(UsageError, match=r"No space left on device.*There was none before") as told:
        save_checkpoint(tmp_path, {"step": 2})
    assert f"make room in {tmp_path}" in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_at_the_end_keeps_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"step": 1})

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UsageError, match="Input/output error"):
        save_checkpoint(tmp_path, {"step": 2})
    assert load_checkpoint(tmp_path) == {"step": 1}


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 torn"])
def test_a_damaged_one_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"checkpoint.pt: cannot be read .* Remove it"):
        load_checkpoint(tmp_path)


class Code:
    """Pickles as a call."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("made-by-a-checkpoint",))


def test_no_code_runs_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state": Code()}, tmp_path / checkpoints.CHECKPOINT_FILE)
    with pytest.raises(UsageError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not Path("made-by-a-checkpoint").exists()
