# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from voxadapt.recipes.corpora.manifest_rows import read_rows


@pytest.fixture
def rows_of(tmp_path):
    def read(content, name="m.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_rows(path, **options)

    return read


def test_csv_values_by_column_with_line_numbers(rows_of):
    found = rows_of("path,label\na.wav, happy \n\nb.wav,\n,\n")
    assert found.columns == ["path", "label"]
    assert found.rows == [
        (2, {"path": "a.wav", "label": "happy"}),
        (4, {"path": "b.wav", "label": ""}),
    ]
    assert found.problems == []


def test_csv_quoted_commas_quotes_and_newlines(rows_of):
    found = rows_of('path,text\n"a,1.wav","say ""hi"",\nplease"\nb.wav,x\n')
    assert found.rows == [
        (3, {"path": "a,1.wav", "text": 'say "hi",\nplease'}),
        (4, {"path": "b.wav", "text": "x"}),
    ]


@pytest.mark.parametrize("name", ["m.csv", "M.CSV"])
def test_csv_with_bom_and_windows_lines(rows_of, name):
    found = rows_of(b"\xef\xbb\xbfpath,label\r\na.wav,happy\r\n", name)
    assert found.columns == ["path", "label"]
    assert found.rows == [(2, {"path": "a.wav", "label": "happy"})]


def test_csv_field_counts(rows_of):
    found = rows_of("path,label\na.wav\nb.wav,x,y\nc.wav,z\n")
    assert [problem.split(";")[0] for problem in found.problems] == [
        "line 2 has 1 fields, but the header names 2",
        "line 3 has 3 fields, but the header names 2",
    ]
    assert [line for line, _ in found.rows] == [4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('path,label\na.wav,"x\nb.wav,y\n', "line 2: this row cannot be read as CSV"),
        ('path,label\na.wav,x\n"b"c.wav,y\n', "line 3: this row cannot be read as CSV"),
        ("path,label,path\n", "names column 'path' twice"),
        (",path,label\n0,a.wav,x\n", "column 1 has no name"),
        ("path;label\na.wav;x\n", "separated by semicolons"),
        ("path\tlabel\na.wav\tx\n", "separated by tabs"),
        ("path\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_csv_problems(rows_of, content, message):
    found = rows_of(content)
    assert len(found.problems) == 1
    assert message in found.problems[0]


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("m.csv", "path,label\na.wav,fr\xf6hlich\nb.wav,x\nc.wav,tr\xfcb\n", [3]),
        ("m.jsonl", '{"path": "\xf6"}\n{"path": "b"}\n{"path": "\xfc"}\n', [2]),
    ],
)
def test_each_line_that_is_not_utf8_is_named(rows_of, name, content, kept):
    found = rows_of(content.encode("latin-1"), name)
    assert len(found.problems) == 2
    assert all("not UTF-8" in problem for problem in found.problems)
    assert "0xf6" in found.problems[0]
    assert [line for line, _ in found.rows] == kept


def test_jsonl_types_become_text(rows_of):
    row = {"path": "a.wav", "label": 3, "start": 0.5, "end": None, "ok": True, "words": ["ä"]}
    found = rows_of(json.dumps(row) + '\n\n{"path": " b.wav ", "fold": 1}\n', "m.jsonl")
    assert found.problems == []
    assert found.columns == ["path", "label", "start", "end", "ok", "words", "fold"]
    assert found.rows[0] == (
        1,
        {"path": "a.wav", "label": "3", "start": "0.5", "end": "", "ok": "true", "words": '["ä"]'},
    )
    assert found.rows[1] == (3, {"path": "b.wav", "fold": "1"})


def test_jsonl_problems_name_the_line(rows_of):
    lines = ['{"path": "a.wav"}', "{'path': 1}", "[1]", '{"path": "b.wav", "label": ["x", "y"]}']
    found = rows_of("\n".join(lines), "m.jsonl", plain={"label"})
    assert [problem.split(" (")[0].split(";")[0] for problem in found.problems] == [
        "line 2 is no JSON",
        "line 3 holds no object",
        'line 4: label is ["x", "y"]',
    ]
    assert [line for line, _ in found.rows] == [1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (r'{"path": "a.wav", "label": "\ud800"}', "line 1: label holds half of a character"),
        (r'{"path": "a.wav", "l\udc00": "x"}', r"line 1: l\udc00 holds half of a character"),
        (r'{"path": "a.wav", "words": ["\udfff"]}', "line 1: words holds half of a character"),
    ],
)
def test_json_can_say_what_is_no_text(rows_of, row, message):
    found = rows_of(row, "m.jsonl")
    assert [problem[: len(message)] for problem in found.problems] == [message]
    assert found.rows == []


def test_whole_characters_and_bytes_of_paths_are_fine(rows_of):
    found = rows_of(r'{"path": "caf\udce9.wav", "label": "\ud83d\ude00 \u00e9"}', "m.jsonl")
    assert found.problems == []
    assert found.rows == [(1, {"path": "caf\udce9.wav", "label": "\U0001f600 \xe9"})]


def test_json_that_never_ends_its_brackets(rows_of):
    found = rows_of("[" * 100_000, "m.jsonl")
    assert "line 1 is no JSON" in found.problems[0]


def test_a_field_that_is_too_long(rows_of):
    found = rows_of("path,text\na.wav," + "x" * 200_000 + "\n")
    (problem,) = found.problems
    assert "line 2: this row cannot be read as CSV (field larger than field limit" in problem
    assert "shorten it" in problem


def test_a_file_larger_than_what_is_read_at_once(rows_of):
    """A character may lie across two reads; a byte that is none is found in the last one."""
    umlauts = 20 * "\xe4"
    lines = [f"{number:06}.wav,{umlauts}" for number in range(60_000)]
    content = "\n".join(["path,label", *lines]).encode()
    assert len(content) > 2 << 20
    found = rows_of(content)
    assert (len(found.rows), found.problems) == (60_000, [])
    found = rows_of(content + b"\xe4")
    assert len(found.rows) == 59_999
    assert "line 60001 is not UTF-8 (byte 0xe4 at position" in found.problems[0]


def test_unknown_ending(rows_of):
    found = rows_of("path,label\n", "m.tsv")
    assert found.problems == ["the name ends in '.tsv'; a manifest ends in .csv or .jsonl"]


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_empty_file_has_nothing(rows_of, name):
    found = rows_of("", name)
    assert (found.columns, found.rows, found.problems) == ([], [], [])
