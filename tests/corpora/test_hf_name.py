# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.hf_name import HFName, parse_hf_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:user/corpus", HFName("user/corpus")),
        ("hf:corpus:train", HFName("corpus", split="train")),
        ("hf:user/corpus:en:train", HFName("user/corpus", "en", "train")),
        ("hf:user/corpus:en:", HFName("user/corpus", "en")),
        ("hf:user/corpus::test", HFName("user/corpus", split="test")),
        ("hf:user/corpus:train[10:20]", HFName("user/corpus", split="train[10:20]")),
        ("hf:user/corpus@v1:en:train[:5%]", HFName("user/corpus", "en", "train[:5%]", "v1")),
    ],
)
def test_parts(text, expected):
    assert parse_hf_name(text) == expected


def test_a_folder_that_is_there_is_taken_as_it_is(tmp_path):
    odd = tmp_path / "a@b:c"
    odd.mkdir()
    (tmp_path / "a@b").mkdir()
    assert parse_hf_name(f"hf:{odd}") == HFName(str(odd))
    assert parse_hf_name(f"hf:{tmp_path}:test") == HFName(str(tmp_path), split="test")
    assert parse_hf_name(f"hf:{tmp_path}/a@b:x") == HFName(f"{tmp_path}/a@b", split="x")


@pytest.mark.parametrize("text", ["hf:", "hf::train", "hf:@v1", "hf:a:b:c:d"])
def test_names_of_nothing(text):
    with pytest.raises(DataError, match="names no dataset; write hf:NAME"):
        parse_hf_name(text)
