# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from voxadapt.recipes.corpora.written_aside import UNFINISHED, write_aside


def test_makes_and_replaces(tmp_path):
    path = tmp_path / "a.json"
    write_aside(path, lambda stream: stream.write(b"one"))
    write_aside(path, lambda stream: stream.write(b"two"))
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
