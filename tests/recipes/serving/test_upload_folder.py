# SPDX-License-Identifier: Apache-2.0
"""The folder for uploads: what is in it, who may read it, when it goes."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from voxadapt.recipes.serving import upload_folder
from voxadapt.recipes.serving.upload_folder import UploadFolder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    return tmp_path


def test_it_lasts_as_long_as_the_server_and_is_for_its_user_alone(place: Path) -> None:
    folder = UploadFolder()
    assert os.environ["GRADIO_TEMP_DIR"] == str(folder.path)
    assert folder.path.stat().st_mode & 0o077 == 0

    async def main() -> None:
        async with folder.running():
            (folder.path / "rest.wav").write_bytes(b"x")

    asyncio.run(main())
    assert list(place.iterdir()) == []


def test_a_file_is_deleted_soon_after_it_was_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_folder, "_LINGER_SECONDS", 0.1)
    folder = UploadFolder()
    path, other = folder.path / "hash" / "clip.wav", folder.path / "hash" / "other.wav"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    other.write_bytes(b"def")

    async def main() -> None:
        assert await folder.take(str(path)) == b"abc"
        assert path.exists()  # for the player
        while path.exists():
            await asyncio.sleep(0.01)
        assert other.exists()
        assert await folder.take(str(other)) == b"def"
        while other.parent.exists():
            await asyncio.sleep(0.01)
        with pytest.raises(ValueError, match=r"clip\.wav is no upload, or is deleted already"):
            await folder.take(str(path))

    asyncio.run(main())


def test_the_same_recording_sent_again_is_not_deleted_with_the_first(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_folder, "_LINGER_SECONDS", 0.1)
    folder = UploadFolder()
    path = folder.path / "hash" / "clip.wav"
    path.parent.mkdir()
    path.write_bytes(b"abc")

    async def main() -> None:
        assert await folder.take(str(path)) == b"abc"
        again = folder.path / "arriving"
        again.write_bytes(b"abc")
        again.rename(path)  # as Gradio does
        await asyncio.sleep(0.3)
        assert await folder.take(str(path)) == b"abc"
        while path.parent.exists():
            await asyncio.sleep(0.01)

    asyncio.run(main())


def test_files_elsewhere_are_neither_read_nor_deleted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UploadFolder()
    secret = place / "secret.txt"
    secret.write_text("secret")
    (folder.path / "link.wav").symlink_to(secret)
    monkeypatch.chdir(folder.path)
    (folder.path / "relative.wav").write_bytes(b"x")
    names = [secret, folder.path / ".." / "secret.txt", folder.path / "link.wav", folder.path]
    for name in [*names, Path("relative.wav"), "http://192.0.2.1/clip.wav"]:
        assert not folder.holds(name)
        with pytest.raises(ValueError, match="is no upload"):
            asyncio.run(folder.take(str(name)))
    assert secret.read_text() == "secret"


def test_the_folder_of_a_server_that_was_killed_is_deleted_by_the_next(place: Path) -> None:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    orphan = place / f"voxadapt-serve-{finished.pid}-abc"
    alive = place / f"voxadapt-serve-{os.getpid()}-abc"
    other = place / "voxadapt-serve-notes"
    for path in (orphan, alive, other):
        path.mkdir()
        (path / "clip.wav").write_bytes(b"x")
    UploadFolder()
    assert not orphan.exists()
    assert alive.exists()
    assert other.exists()
