# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.table_reading import read_table

ROWS = [{"file": "a.wav", "émotion": "gai, très"}, {"file": "b c.wav", "émotion": "triste"}]


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_encodings_and_newlines(
    mark: str, encoding: str, newline: str, tmp_path: Path
) -> None:
    lines = ["file" + mark + "émotion", f'a.wav{mark}"gai, très"', f"b c.wav{mark} triste ", ""]
    table = read_table(write(tmp_path / "t.csv", newline.join(lines), encoding))
    assert table.columns == ["file", "émotion"]
    assert [row for _, row in table.rows] == ROWS
    assert ("Windows" in table.how) == (encoding == "cp1252")
    assert ("UTF-16" in table.how) == (encoding == "utf-16")
    words = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
    assert words[mark] in table.how


def test_json_in_three_forms(tmp_path: Path) -> None:
    lines = "\n".join(map(json.dumps, ROWS))
    by_id = json.dumps({"x": ROWS[0], "y": ROWS[1]})
    assert [row for _, row in read_table(write(tmp_path / "t.jsonl", lines)).rows] == ROWS
    assert [row for _, row in read_table(write(tmp_path / "t.json", json.dumps(ROWS))).rows] == ROWS
    table = read_table(write(tmp_path / "u.json", by_id))
    assert [row for _, row in table.rows] == [{"id": "x", **ROWS[0]}, {"id": "y", **ROWS[1]}]


def test_values_of_json_become_text(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.jsonl", '{"a": 1, "b": null, "c": [1, 2], "d": 0.5}'))
    assert table.rows == [(1, {"a": "1", "b": "", "c": "[1, 2]", "d": "0.5"})]


def test_lines_that_are_no_rows_are_counted(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "path,label\na.wav,x\nb.wav\n\n,,\nc.wav,y,z\n"))
    assert [row["path"] for _, row in table.rows] == ["a.wav"]
    assert [line for line, _ in table.broken] == [3, 6]
    assert "1 fields where the header names 2" in table.broken[0][1]
    table = read_table(write(tmp_path / "t.jsonl", '{"path": "a"}\nnonsense\n[1]\n'))
    assert [line for line, _ in table.broken] == [2, 3]


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", ",path,label\n0,a.wav,x\n"))
    assert table.columns == ["column_1", "path", "label"]


def test_a_quote_that_is_not_closed(tmp_path: Path) -> None:
    # Read as it stands, it would swallow the rest of the table.
    comma = write(tmp_path / "t.csv", 'path,text\na.wav,"hello\nb.wav,bye\n')
    with pytest.raises(DataError, match=r"t.csv cannot be read as a table: line 3: unexpected end"):
        read_table(comma)
    table = read_table(write(tmp_path / "t.tsv", 'path\ttext\na.wav\t"hello\nb.wav\tbye\n'))
    assert [row["text"] for _, row in table.rows] == ['"hello', "bye"]
    assert "tab-separated without quotes" in table.how


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", "x", "a table ends in"),
        ("t.csv", "", "is empty"),
        ("t.json", "{", "is no JSON"),
        ("t.json", "3", "a list of objects"),
    ],
)
def test_what_is_no_table(name: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / name, content))


def test_a_line_of_json_ends_where_json_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    text = "one\u2028two\x85three"
    path.write_bytes(f'{{"text": "{text}"}}\r\n\r\n{{"text": "b"}}\r\n'.encode())
    table = read_table(path)
    assert [(line, row["text"]) for line, row in table.rows] == [(1, text), (3, "b")]
    assert table.broken == []
