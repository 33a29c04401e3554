# SPDX-License-Identifier: Apache-2.0
from voxadapt.recipes.corpora.intake.description import LabelFiles
from voxadapt.recipes.corpora.intake.label_files import fill, find_label_files, read_label_files


def test_templates() -> None:
    assert fill("Ses{a}{b}", {"a": "1", "b": "F"}) == "Ses1F"
    assert fill("Ses{a}{b}", {"a": "1", "b": ""}) == ""
    assert fill("Ses{a}{b}", {"a": "1"}) == ""
    assert fill("plain", {}) == "plain"


def test_files_by_their_names() -> None:
    wanted = LabelFiles("{part:train|dev}_labels.csv", "{x}")
    names = ["a/train_labels.csv", "dev_labels.CSV", "test_labels.csv", "train_labels.csv.bak"]
    found = find_label_files(wanted, names)
    assert found == {"a/train_labels.csv": {"part": "train"}, "dev_labels.CSV": {"part": "dev"}}
    assert list(find_label_files(LabelFiles("table.csv", "{x}"), ["a/table.csv"])) == [
        "a/table.csv"
    ]


def test_lines_and_their_keys() -> None:
    wanted = LabelFiles("{session}.txt", "{session}/{clip}", line=r"(?P<clip>\w+)\t(?P<code>\w+)")
    content = "% comment\nc1\tang\nc2\thap rest\n\nc1\tsad\n"
    entries = read_label_files(wanted, ["s1.txt", "s1.wav"], lambda name: content.encode())
    assert entries == {
        "s1/c1": {"session": "s1", "clip": "c1", "code": "ang"},
        "s1/c2": {"session": "s1", "clip": "c2", "code": "hap"},
    }


def test_encodings() -> None:
    for encoding in ("utf-8", "utf-16", "gb18030"):
        wanted = LabelFiles(
            "a.txt", "{clip}", line=r"(?P<clip>\w+)\t(?P<text>.+)", encoding="gb18030"
        )
        content = "c1\t打远一看".encode(encoding)
        assert (
            read_label_files(wanted, ["a.txt"], lambda name, c=content: c)["c1"]["text"]
            == "打远一看"
        )


def test_tables_and_keys_of_another_form() -> None:
    wanted = LabelFiles("t.csv", "{clip}.wav", entry="{file}", table={"file": "Name", "code": "E"})
    content = "Name;E;Other\nc1.wav;A;é\n;B;x\n".encode("cp1252")
    entries = read_label_files(wanted, ["t.csv"], lambda name: content)
    assert entries == {"c1.wav": {"file": "c1.wav", "code": "A"}}
