# SPDX-License-Identifier: Apache-2.0
import csv
import io
from pathlib import Path

import pytest
import soundfile

from voxadapt.recipes.corpora.csv_text import csv_text
from voxadapt.recipes.corpora.manifest import read_manifest


@pytest.mark.parametrize("value", ["a", "a,b", 'say "a"', "a\nb", "a\r\nb", "a\rb", "é", ""])
def test_what_is_written_is_read_back(value: str) -> None:
    rows = [{"one": value, "two": "x"}, {"two": value}]
    read = csv.DictReader(io.StringIO(csv_text(["one", "two"], rows), newline=""), strict=True)
    assert list(read) == [{"one": value, "two": "x"}, {"one": "", "two": value}]


def test_only_what_needs_quotes_has_them() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": None, "b": "y\rz"}]
    assert csv_text(["a", "b"], rows) == 'a,b\n1,x\n"","y\rz"\n'


def test_a_manifest_may_have_a_carriage_return_in_a_text(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", [0.0, 0.1] * 400, 16_000)
    path = tmp_path / "m.csv"
    path.write_bytes(csv_text(["path", "text"], [{"path": "a.wav", "text": "one\rtwo"}]).encode())
    assert read_manifest(path).clips[0].columns == {"text": "one\rtwo"}
