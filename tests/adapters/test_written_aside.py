# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from voxadapt.adapters.written_aside import (
    UNFINISHED,
    remove_leftovers,
    write_aside,
    write_folder_aside,
)


def test_makes_and_replaces(tmp_path):
    path = tmp_path / "a.json"
    write_aside(path, lambda stream: stream.write(b"one"))
    write_aside(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.json"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail(stream):
        stream.write(b"half of the ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_aside(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_name_appears_only_when_all_is_written(tmp_path):
    path = tmp_path / "a.json"
    seen = []

    def write(stream):
        stream.write(b"half")
        stream.flush()
        seen.extend(os.listdir(tmp_path))

    write_aside(path, write)
    assert len(seen) == 1
    assert seen[0].endswith(UNFINISHED)
    assert not seen[0].endswith(".json")


@pytest.mark.skipif(os.name == "nt", reason="numbers of files as POSIX has them")
def test_the_file_is_renamed_and_not_written_again(tmp_path):
    numbers = []
    path = tmp_path / "a.json"
    write_aside(path, lambda stream: numbers.append(os.fstat(stream.fileno()).st_ino))
    assert numbers == [path.stat().st_ino]


@pytest.mark.skipif(os.name == "nt", reason="file modes of POSIX")
def test_others_may_read_it_as_the_umask_says(tmp_path):
    (tmp_path / "plain").touch()
    write_aside(tmp_path / "aside", lambda stream: stream.write(b"x"))
    assert (tmp_path / "aside").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_is_made_and_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "model"
    write_folder_aside(folder, lambda aside: (aside / "a").write_bytes(b"one"))
    seen = []

    def replace(aside):
        (aside / "b").write_bytes(b"two")
        seen.extend(sorted(os.listdir(tmp_path)))

    write_folder_aside(folder, replace)
    assert os.listdir(folder) == ["b"]
    assert os.listdir(tmp_path) == ["model"]
    assert seen[0] == "model"
    assert seen[1].endswith(UNFINISHED)


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    write_folder_aside(folder, lambda aside: (aside / "a").write_bytes(b"old"))

    def fail(aside):
        (aside / "a").write_bytes(b"half of the ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder_aside(folder, fail)
    assert os.listdir(tmp_path) == ["model"]

    rename = type(folder).rename

    def refuse(self, target):
        if target == folder and not self.name.endswith(f".old{UNFINISHED}"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_folder_aside(folder, lambda aside: (aside / "a").write_bytes(b"new"))
    assert (folder / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_leftovers_go_and_the_rest_stays(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / f"a.json.77{UNFINISHED}").touch()
    (tmp_path / f"model.77{UNFINISHED}").mkdir()
    (tmp_path / f"model.77{UNFINISHED}" / "a").touch()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]
