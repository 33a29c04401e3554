# SPDX-License-Identifier: Apache-2.0
"""``cross_corpus``: each corpus trains, all are tested on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.cross_corpus import folders_of

Run = Callable[..., Any]
Rows = list[dict[str, str]]
# The speakers of the second corpus, and its names for the labels.
THEIRS = {"hum": "low", "noise": "hiss", "tone": "high"}


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def corpora(corpus_rows: Rows, write_rows: Callable[..., Path]) -> list[Path]:
    """Two corpora without a clip in common, each of two speakers; the second has other labels."""
    parts = {"s0": "train", "s1": "test", "s2": "train", "s3": "test"}
    rows = [{**row, "split": parts[row["speaker"]]} for row in corpus_rows]
    first = [row for row in rows if row["speaker"] in ("s0", "s1")]
    second = [
        {**row, "label": THEIRS[row["label"]]} for row in rows if row["speaker"] in ("s2", "s3")
    ]
    return [write_rows(first, "first.csv"), write_rows(second, "second.csv")]


@pytest.fixture
def options(finetune_options: list[str], corpora: list[Path]) -> list[str]:
    given = [*finetune_options[2:], "--adapter=none", "--epochs=1", "--report-clips=0"]
    return [*given, "--data", *map(str, corpora), "--allow-outside"]


MAP = "second: {low: hum, hiss: noise, high: tone}\n"


def test_a_matrix_of_all_corpora(run_cli: Run, options: list[str]) -> None:
    Path("map.yaml").write_text(MAP)
    ran = run_cli("cross_corpus", *options, "--label-map=map.yaml", "--out=cross")
    assert ran.code == 0, ran.err
    found = read("cross/matrix.json")
    assert [row["train"] for row in found["rows"]] == ["first", "second"]
    assert found["labels"] == ["hum", "noise", "tone"]
    with open("cross/matrix.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    pairs = [(line["train"], line["test"]) for line in lines]
    names = ("first", "second")
    assert pairs == [(train, test) for train in names for test in names]
    for row, name in zip(found["rows"], names, strict=True):
        metrics = read(f"cross/{name}/metrics.json")
        other = metrics["cross_corpus"][0]
        assert other["name"] != name
        by_test = {cell["test"]: cell for cell in row["cells"]}
        assert by_test[name]["ua"] == metrics["ua"]
        assert (by_test[name]["n"], by_test[other["name"]]["n"]) == (6, other["n"])
        assert by_test[other["name"]]["ua"] == other["ua"]
        assert by_test[other["name"]]["ci95"] == other["ci95"]
        shown = f"{100 * metrics['ua']:.2f}"
        assert any(line.startswith(f"| {name}") and shown in line for line in ran.out.splitlines())
    for line, cell in zip(lines, [c for row in found["rows"] for c in row["cells"]], strict=True):
        assert float(line["ua"]) == cell["ua"]
        assert float(line["ua_low"]) == cell["ci95"]["ua"][0]
    assert Path("cross/matrix.png").read_bytes().startswith(b"\x89PNG")


def test_a_stopped_matrix_goes_on_with_what_is_left(run_cli: Run, options: list[str]) -> None:
    Path("map.yaml").write_text(MAP)
    given = [*options, "--label-map=map.yaml", "--seeds=2"]
    assert run_cli("cross_corpus", *given, "--out=whole").code == 0
    assert run_cli("cross_corpus", *given, "--out=parts", "--max-epochs=0").code == 0
    assert not Path("parts/matrix.json").exists()
    ran = run_cli("cross_corpus", *given, "--out=parts", "--resume")
    assert ran.code == 0, ran.err
    assert "±" in ran.out
    assert read("parts/matrix.json")["rows"] == read("whole/matrix.json")["rows"]
    assert Path("parts/matrix.csv").read_bytes() == Path("whole/matrix.csv").read_bytes()
    assert read("whole/matrix.json")["rows"][0]["cells"][1]["std"]["ua"] >= 0


def test_labels_that_are_not_shared_are_an_error_or_left_out_by_name(
    run_cli: Run, options: list[str]
) -> None:
    def refused(*given: str, text: str | None = None) -> str:
        if text is not None:
            Path("map.yaml").write_text(text)
            given = (*given, "--label-map=map.yaml")
        ran = run_cli("cross_corpus", *options, *given, "--out=cross")
        assert ran.code == 2
        assert not Path("cross").exists()
        return str(ran.err)

    told = refused()
    assert "some labels are not in all corpora (first: hum, noise, tone; second: high" in told
    assert "--shared-labels" in told
    assert "the corpora share 0 labels, and two or more are needed" in refused("--shared-labels")
    told = refused(text="second: {low: hum, hiss: noise, hihg: tone}\n")
    assert "no clip has the label second.hihg" in told
    assert "did you mean 'high'" in told
    assert "the section 'third'" in refused(text=MAP + "third: {a: b}\n")

    Path("map.yaml").write_text("second: {low: hum, hiss: noise}\n")
    given = [*options, "--label-map=map.yaml", "--shared-labels"]
    ran = run_cli("cross_corpus", *given, "--out=cross")
    assert ran.code == 0, ran.err
    found = read("cross/matrix.json")
    assert found["labels"] == ["hum", "noise"]
    left_out = [corpus["left_out_labels"] for corpus in found["corpora"]]
    assert left_out == [{"tone": 4}, {"high": 4}]
    assert read("cross/first/metrics.json")["left_out_labels"] == {"tone": 4}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--data", "a.csv"], "--data: found 1 manifests, must be two or more"),
        (["--data", "a.csv", "b.csv", "--test-data", "c.csv"], "--test-data: every corpus"),
        (["--data", "a.csv", "b.csv", "--label=x,y"], "must be classification of one label"),
        (["--data", "a.csv", "b.csv"], "the manifest 'a.csv' does not exist"),
    ],
)
def test_options_are_checked(given: list[str], told: str, run_cli: Run) -> None:
    ran = run_cli("cross_corpus", *given, "--out=cross")
    assert ran.code == 2
    assert told in ran.err


def test_folders_of_names_that_a_file_system_does_not_tell_apart() -> None:
    names = ["a b", "a_b", "a", "a:b"]
    found = [folder.name for folder in folders_of(names, Path("out"))]
    assert found[0] == "a_b"
    assert found[2] == "a"
    assert len(set(found)) == 4


def test_manifests_of_the_same_name_in_folders_of_the_same_name(
    run_cli: Run, options: list[str], corpora: list[Path]
) -> None:
    places = []
    for corpus in corpora:
        folder = corpus.parent / corpus.stem / "lists"
        folder.mkdir(parents=True)
        places.append(corpus.rename(folder / "m.csv"))
    Path("map.yaml").write_text(MAP.replace("second:", "second-lists-m:"))
    given = [*options[: options.index("--data")], "--data", *map(str, places), "--allow-outside"]
    ran = run_cli("cross_corpus", *given, "--label-map=map.yaml", "--out=cross")
    assert ran.code == 0, ran.err
    rows = read("cross/matrix.json")["rows"]
    assert [row["train"] for row in rows] == ["first-lists-m", "second-lists-m"]
