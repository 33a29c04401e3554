# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.shard_pattern import expand_shards

pytest.importorskip("webdataset")


def refusal(pattern):
    with pytest.raises(DataError) as caught:
        expand_shards(pattern)
    return str(caught.value)


def test_patterns(tmp_path):
    for name in ("a-00.tar", "a-01.tar", "a-02.tar", "b{1}.tar", "c*.tar"):
        (tmp_path / name).touch()

    def names(pattern):
        return [path.name for path in expand_shards(f"wds:{tmp_path}/{pattern}")]

    assert names("a-{00..02}.tar") == ["a-00.tar", "a-01.tar", "a-02.tar"]
    assert names("a-{02..00}.tar") == ["a-02.tar", "a-01.tar", "a-00.tar"]
    assert names("a-*.tar") == ["a-00.tar", "a-01.tar", "a-02.tar"]
    assert names("{c*,a-00}.tar") == ["c*.tar", "a-00.tar"]
    assert names("a-{00,00}.tar") == ["a-00.tar"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("s-{000..002}.tar", "these shards are not there: "),
        ("t-*.tar", "these shards are not there: "),
        ("{.tar", "is no pattern of files: Unbalanced braces"),
    ],
)
def test_shards_that_are_not_there(tmp_path, pattern, message):
    (tmp_path / "s-001.tar").touch()
    assert message in refusal(f"wds:{tmp_path}/{pattern}")


@pytest.mark.parametrize("url", ["", "https://host/a.tar", "pipe:cat a.tar", "s3://bucket/a.tar"])
def test_shards_are_files(url):
    assert "shards are files here" in refusal(f"wds:{url}")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset.shardlists", None)
    assert "pip install -e '.[webdataset]'" in refusal("wds:a.tar")
