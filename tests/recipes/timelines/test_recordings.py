# SPDX-License-Identifier: Apache-2.0
"""Which files a command line names."""

from pathlib import Path

import pytest

from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.timelines.recordings import find_recordings


def test_files_and_folders_each_once(tmp_path: Path) -> None:
    for name in ("calls/b/2.FLAC", "calls/a/1.wav", "calls/notes.txt", "calls/.wav/x", "one.raw"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_recordings(
        [str(tmp_path / name) for name in ("one.raw", "calls", "calls/a/1.wav", "one.raw")]
    )
    assert list(found.items()) == [
        (tmp_path / "one.raw", Path("one.raw")),
        (tmp_path / "calls/a/1.wav", Path("a/1.wav")),
        (tmp_path / "calls/b/2.FLAC", Path("b/2.FLAC")),
    ]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: there is no such file or folder"):
        find_recordings(["nowhere"])
    with pytest.raises(UsageError, match="holds no audio file"):
        find_recordings([str(tmp_path)])


def test_patterns(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.wav").touch()
    found = find_recordings([str(tmp_path / "**" / "*.wav")])
    assert found == {tmp_path / "a" / "1.wav": Path("1.wav")}
