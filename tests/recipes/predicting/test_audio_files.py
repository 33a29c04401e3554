# SPDX-License-Identifier: Apache-2.0
"""Files, folders, patterns and lists: what each finds, and what finds nothing."""

import io
import logging
from pathlib import Path

import pytest

from voxadapt.recipes.predicting.audio_files import find_files
from voxadapt.recipes.running.command_line import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with audio (by its name) at two depths, and a text."""
    for name in ("b.wav", "a.flac", "deep/C.WAV", "deep/er/d.mp3", "notes.txt", "raw"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*given: str, listed: bytes = b"") -> list[str]:
    return [str(path) for path in find_files(given, io.BytesIO(listed))]


@pytest.mark.usefixtures("folder")
def test_files_are_taken_as_they_are_and_folders_by_their_endings() -> None:
    assert names("notes.txt", "b.wav") == ["notes.txt", "b.wav"]
    assert names(".") == ["a.flac", "b.wav", "deep/C.WAV", "deep/er/d.mp3"]
    assert names("deep", "b.wav") == ["deep/C.WAV", "deep/er/d.mp3", "b.wav"]


@pytest.mark.usefixtures("folder")
def test_hidden_files_are_none_of_a_folders(folder: Path) -> None:
    for name in ("deep/._C.WAV", ".trash/e.wav"):  # as macOS leaves them
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert names(".") == ["a.flac", "b.wav", "deep/C.WAV", "deep/er/d.mp3"]
    assert names("deep/._C.WAV") == ["deep/._C.WAV"]


@pytest.mark.usefixtures("folder")
def test_patterns_find_what_a_shell_would() -> None:
    assert names("*.wav") == ["b.wav"]
    assert names("**/*.[mM]*") == ["deep/er/d.mp3"]
    assert names("**/*") == ["a.flac", "b.wav", "deep/C.WAV", "deep/er/d.mp3"]
    assert names("*.txt") == ["notes.txt"]  # its ending was asked for
    assert names("?.*") == ["a.flac", "b.wav"]


@pytest.mark.usefixtures("folder")
def test_each_file_is_done_once() -> None:
    assert names("b.wav", ".", "*.wav") == ["b.wav", "a.flac", "deep/C.WAV", "deep/er/d.mp3"]


@pytest.mark.usefixtures("folder")
def test_a_name_with_brackets_is_a_file_first(folder: Path) -> None:
    (folder / "[x].wav").touch()
    assert names("[x].wav") == ["[x].wav"]


@pytest.mark.parametrize(
    "listed", [b"b.wav\nmissing.wav\n", b"b.wav\r\n\r\nmissing.wav", b"b.wav\0missing.wav\0"]
)
@pytest.mark.usefixtures("folder")
def test_a_list_may_be_older_than_the_files(listed: bytes) -> None:
    assert names("-", listed=listed) == ["b.wav", "missing.wav"]
    assert names("a.flac", "-", listed=listed) == ["a.flac", "b.wav", "missing.wav"]


def test_a_list_may_hold_any_name() -> None:
    assert names("-", listed=b"two words\n.wav\0\xff.wav\0") == ["two words\n.wav", "\udcff.wav"]


@pytest.mark.usefixtures("folder")
def test_what_finds_nothing_is_said(folder: Path) -> None:
    (folder / "empty").mkdir()
    for given, message in (
        ("nowhere.wav", "nowhere.wav: there is no such file or folder"),
        ("empty", "empty: this folder holds no audio file"),
        ("*.ogg", r"\*\.ogg: no audio file matches this pattern$"),
        ("r*", r"r\*: no audio file matches this pattern \(\."),
        ("-", "standard input holds no path"),
    ):
        with pytest.raises(UsageError, match=message):
            names(given, listed=b"\n")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings that must be converted: two have not been, one has."""
    for name in ("a.wav", "b.m4a", "deep/c d.OPUS", "e.mp4", "e.wav", "notes.txt", "._b.m4a"):
        path = tmp_path / "calls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "calls"


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("given", ["calls", "calls/**/*", "calls/**/*.[mwO]*"])
def test_recordings_that_must_be_converted_are_told_of(
    given: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert names(given) == ["calls/a.wav", "calls/e.wav"]
    assert caplog.messages == [
        f"{given}: 2 of its files left out, as 'calls/b.m4a', 'calls/deep/c d.OPUS', since .m4a, "
        ".opus cannot be read here; convert them to .wav or .flac first, as by "
        "`ffmpeg -i calls/b.m4a calls/b.wav`"
    ]


@pytest.mark.usefixtures("calls")
def test_recordings_that_are_named_are_not_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert names("calls/*.m4a", "calls/e.mp4") == ["calls/b.m4a", "calls/e.mp4"]
    assert names("calls/*.wav") == ["calls/a.wav", "calls/e.wav"]
    assert caplog.messages == []


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("given", ["calls/deep", "calls/deep/*", "calls/deep/*.O*"])
def test_nothing_but_recordings_that_must_be_converted(given: str) -> None:
    with pytest.raises(UsageError) as refused:
        names(given)
    for needle in (given, "no audio file", "1 of its files left out", "ffmpeg -i 'calls/deep/c d"):
        assert needle in str(refused.value)
