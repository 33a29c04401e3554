# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from voxadapt.recipes.corpora import manifest_paths as module
from voxadapt.recipes.corpora.manifest_paths import LISTED_FROM, AudioPaths, printable, shown


@pytest.fixture
def root(tmp_path):
    """A folder for a manifest, with one file in it, one beside it and one in a sub-folder."""
    root = tmp_path / "corpus"
    (root / "audio").mkdir(parents=True)
    for path in (root / "a.wav", root / "audio" / "b.wav", tmp_path / "out.wav"):
        path.touch()
    return root


def find(root, written, *, allow_outside=False):
    return AudioPaths(str(root), allow_outside=allow_outside).find(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a.wav", "a.wav"),
        ("./a.wav", "a.wav"),
        ("audio/b.wav", "audio/b.wav"),
        ("audio//b.wav", "audio/b.wav"),
        ("audio/./b.wav", "audio/b.wav"),
        ("audio/../a.wav", "a.wav"),
        ("gone/../a.wav", "a.wav"),
        ("../corpus/a.wav", "a.wav"),
    ],
)
def test_found_inside(root, written, expected):
    assert find(root, written) == root / expected
    assert find(root, str(root / written)) == root / expected


@pytest.mark.parametrize(
    "written", ["../out.wav", "audio/../../out.wav", "./../out.wav", "../corpus/../out.wav"]
)
def test_climbing_out_is_refused_unless_allowed(root, written):
    for path in (written, str(root / written)):
        assert "leads out of the manifest's folder" in find(root, path)
        assert "--allow-outside" in find(root, path)
        assert find(root, path, allow_outside=True) == root.parent / "out.wav"


@pytest.mark.parametrize("written", ["..", "../", "audio/../..", "../.", "../out.wav/", "/"])
def test_folders_outside_are_refused_too(root, written):
    found = find(root, written)
    assert "leads out" in found or "is a folder" in found
    assert not isinstance(found, Path)


def test_outside_is_refused_whether_or_not_the_file_is_there(root):
    assert find(root, "../gone.wav") == find(root, "../out.wav").replace("out.wav", "gone.wav")
    assert "does not exist" in find(root, "../gone.wav", allow_outside=True)


def test_a_folder_whose_name_begins_alike_is_outside(root):
    twin = root.parent / "corpus2"
    twin.mkdir()
    (twin / "a.wav").touch()
    assert "leads out" in find(root, "../corpus2/a.wav")
    assert "leads out" in find(root, str(twin / "a.wav"))


def test_the_root_of_the_file_system_holds_everything(root):
    assert find("/", str(root / "a.wav")) == root / "a.wav"


def test_links_are_taken_as_they_are_named(root):
    (root / "link").symlink_to(root.parent)
    (root / "link.wav").symlink_to(root.parent / "out.wav")
    assert find(root, "link/out.wav") == root / "link" / "out.wav"
    assert find(root, "link.wav") == root / "link.wav"
    # By the file system, `..` of the link is the folder above its target.
    assert find(root, "link/../a.wav") == root / "a.wav"


def test_links_that_lead_nowhere_or_round(root):
    (root / "gone.wav").symlink_to(root / "nothing.wav")
    (root / "round.wav").symlink_to(root / "round.wav")
    (root / "loop").symlink_to(root)
    for name in ("gone.wav", "round.wav"):
        assert "does not exist" in find(root, name)
    assert find(root, "loop/loop/a.wav") == root / "loop" / "loop" / "a.wav"


@pytest.mark.parametrize("written", ["audio", "audio/", ".", "", "audio/.", "audio/b.wav/"])
def test_a_folder_is_no_file(root, written):
    found = find(root, written)
    if written == "audio/b.wav/":
        assert found == root / "audio" / "b.wav"
    else:
        assert "is a folder; name an audio file" in found


@pytest.mark.parametrize(
    "written", ["audio\\b.wav", "..\\out.wav", "C:\\out.wav", "\\\\server\\share\\out.wav"]
)
@pytest.mark.skipif(os.sep == "\\", reason="there they are separators")
def test_windows_separators_are_explained(root, written):
    assert "does not exist" in find(root, written)
    assert "write / instead of \\" in find(root, written)


@pytest.mark.parametrize(
    "written", ["a\0.wav", "au\0dio/b.wav", "x" * 5_000, "x/" * 5_000 + "a.wav", "\ud800.wav"]
)
def test_names_that_no_file_can_have(root, written):
    found = find(root, written)
    assert "does not exist" in found
    assert len(found) < 2_500 + len(str(root))


@pytest.mark.parametrize("count", [1, LISTED_FROM + 5])
def test_names_that_are_no_utf8(root, count):
    raw = b"gr\xfc\xdf.wav"
    try:
        Path(os.fsdecode(os.path.join(os.fsencode(root), raw))).touch()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    paths = AudioPaths(str(root), allow_outside=False)
    for _ in range(count):
        found = paths.find(os.fsdecode(raw))
        assert os.fsencode(found).endswith(raw)
        assert "does not exist" in paths.find("other.wav")


def test_many_files_of_a_folder_cost_one_listing(root, monkeypatch):
    names = [f"{number}.wav" for number in range(100)]
    for name in names:
        (root / "audio" / name).touch()
    asked, listed = [], []
    monkeypatch.setattr(module.os.path, "isfile", lambda path: asked.append(path) or path.exists())
    scan = os.scandir
    monkeypatch.setattr(module.os, "scandir", lambda path: listed.append(path) or scan(path))
    paths = AudioPaths(str(root), allow_outside=False)
    assert [paths.find(f"audio/{name}") for name in names] == [
        root / "audio" / name for name in names
    ]
    assert len(asked) == LISTED_FROM - 1
    assert listed == [root / "audio"]


def test_what_a_listing_lacks_is_asked_for(root):
    """A folder is listed once; folders in it, links and what is missing stay what they are."""
    for number in range(LISTED_FROM):
        (root / f"{number}.wav").touch()
    (root / "link.wav").symlink_to(root.parent / "out.wav")
    (root / "gone.wav").symlink_to(root / "nothing.wav")
    paths = AudioPaths(str(root), allow_outside=False)
    assert all(isinstance(paths.find(f"{number}.wav"), Path) for number in range(LISTED_FROM))
    (root / "new.wav").touch()
    assert paths.find("new.wav") == root / "new.wav"
    assert paths.find("link.wav") == root / "link.wav"
    assert "is a folder" in paths.find("audio")
    assert "does not exist" in paths.find("gone.wav")
    assert "does not exist" in paths.find("missing.wav")


def test_a_folder_that_may_not_be_listed(root, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module.os, "scandir", refuse)
    paths = AudioPaths(str(root), allow_outside=False)
    assert all("not exist" in paths.find(f"{number}.wav") for number in range(LISTED_FROM))
    assert paths.find("a.wav") == root / "a.wav"


def test_segments_of_a_file_share_its_path(root):
    paths = AudioPaths(str(root), allow_outside=False)
    assert paths.find("audio/b.wav") is paths.find("audio/b.wav")


def test_long_texts_are_cut_in_messages():
    assert shown("a'b") == '"a\'b"'
    assert shown("x" * 200) == repr("x" * 200)
    assert shown("x" * 1_200) == f"'{'x' * 200}'... (1,200 characters)"


def test_names_that_are_not_utf8_can_be_printed() -> None:
    name = b"\xff-\xc3\xa9.wav".decode("utf-8", "surrogateescape")
    assert printable(name) == "\\udcff-é.wav"
    printable(name).encode("utf-8")
