# SPDX-License-Identifier: Apache-2.0
"""A run's folder has one writer, and a writer that is killed holds nothing."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from voxadapt.recipes.running import folder_lock
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.folder_lock import LOCK_FILE, hold, leaving
from voxadapt.recipes.running.run_folder import check_out, claim_out

pytestmark = pytest.mark.skipif(folder_lock.fcntl is None, reason="needs fcntl's locks")

HOLDER = """
import sys
from pathlib import Path
from voxadapt.recipes.running.run_folder import claim_out
claim_out(Path(sys.argv[1]), "finetune", {})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process, which is at work in ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_touches_nothing(
    holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    half_written = tmp_path / "checkpoint.pt.123.unfinished"
    half_written.write_text("of the other process")
    assert check_out(tmp_path, "finetune", {}, resume=True) == tmp_path
    with pytest.raises(UsageError, match=rf"a run is at work there \(process {holder.pid} on "):
        claim_out(tmp_path, "finetune", {})
    assert half_written.exists()
    holder.communicate()  # it ends
    claim_out(tmp_path, "finetune", {})
    assert not half_written.exists()


def test_a_killed_process_holds_nothing(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    hold(tmp_path)
    assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")


def test_one_process_may_go_on_in_its_own_folder_and_leaves_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with leaving(tmp_path):
        hold(tmp_path)
        hold(tmp_path / ".." / tmp_path.name)
        refused = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert f"(process {os.getpid()} on " in refused.stderr
    assert subprocess.run(command, input="", stdout=subprocess.PIPE, check=True).stdout == b"held\n"
    with leaving(tmp_path / "never held"):
        pass


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING, logger=folder_lock.__name__):
        claim_out(tmp_path, "finetune", {})
    assert "cannot lock it" in caplog.text
    assert "No locks available" in caplog.text
    assert (tmp_path / "run.json").exists()


def test_both_ways_in_which_file_systems_say_that_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.EAGAIN, errno.EACCES):
        refuse = Mock(side_effect=OSError(number, "held"))
        monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
        with pytest.raises(UsageError, match=r"a run is at work there \(another process\)"):
            claim_out(tmp_path, "finetune", {})


def test_a_full_disk_leaves_the_lock_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with leaving(tmp_path):
        monkeypatch.setattr(os, "write", refuse)
        hold(tmp_path)
        monkeypatch.undo()
        refused = subprocess.run(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
        assert "a run is at work there (another process)" in refused.stderr
