# SPDX-License-Identifier: Apache-2.0
"""``finetune --test-data``: other corpora, their labels, and what must not be tested on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.scoring.corpus_names import name_corpora

Run = Callable[..., Any]
Rows = list[dict[str, str]]
THEIRS = {"hum": "low", "noise": "hiss", "tone": "high"}


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def own(corpus_rows: Rows, write_rows: Callable[..., Path]) -> Path:
    """The tiny corpus without its last speaker; train, valid and test of the others."""
    parts = {"s0": "train", "s1": "valid", "s2": "test"}
    rows = [
        {**row, "split": parts[row["speaker"]]} for row in corpus_rows if row["speaker"] in parts
    ]
    return write_rows(rows, "own.csv")


@pytest.fixture
def other(corpus_rows: Rows, write_rows: Callable[..., Path]) -> Path:
    """The last speaker, an odd number of clips, labels by other names and one more label."""
    rows = [
        {**row, "label": THEIRS[row["label"]], "split": "test" if number % 2 else "train"}
        for number, row in enumerate(corpus_rows)
        if row["speaker"] == "s3"
    ]
    rows[-1]["label"] = "click"
    return write_rows(rows, "other.csv")


@pytest.fixture
def options(finetune_options: list[str], own: Path) -> list[str]:
    given = [*finetune_options, "--adapter=none", "--epochs=1", "--report-clips=0"]
    return [*given, "--data", str(own), "--allow-outside"]


MAP = "low: hum\nhiss: noise\nhigh: tone\nclick: null\n"


def test_another_corpus_is_tested_on_with_its_labels_mapped(
    run_cli: Run, options: list[str], other: Path
) -> None:
    Path("map.yaml").write_text(MAP)
    given = ["--test-data", other, "--label-map=map.yaml", "--out=run"]
    ran = run_cli("finetune", *options, *given)
    assert ran.code == 0, ran.err
    assert "clips left out by the label map: 1 of 'click'" in ran.err
    (found,) = read("run/metrics.json")["cross_corpus"]
    assert (found["name"], found["n"], found["split"]) == ("other", 5, "all")
    assert found["labels"] == ["hum", "noise", "tone"]
    assert found["left_out_labels"] == {"click": 1}
    assert found["label_map"] == {"click": None, "high": "tone", "hiss": "noise", "low": "hum"}
    assert np.sum(found["confusion"]) == 5
    assert found["by_speaker"]["s3"]["ua"] == pytest.approx(found["ua"])
    lines = Path("run", found["predictions"]).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["label"] for record in records] == ["hum", "hum", "noise", "noise", "tone"]
    right = np.mean([record["label"] == record["predicted"] for record in records])
    assert right == pytest.approx(found["wa"])

    # The same model, the same clips, by `score`.
    ran = run_cli(
        "score",
        "run",
        "--data",
        other,
        "--label-map=map.yaml",
        "--split=all",
        "--allow-outside",
        "--out=score.json",
        *options[2:4],
    )
    assert ran.code == 0, ran.err
    scored = read("score.json")
    for name in ("n", "ua", "wa", "confusion", "left_out_labels", "label_map"):
        assert scored[name] == found[name]


def test_a_part_of_it_and_seeds(run_cli: Run, options: list[str], other: Path) -> None:
    Path("map.yaml").write_text(MAP)
    given = ["--test-data", other, "--label-map=map.yaml", "--test-split=test", "--seeds=2"]
    ran = run_cli("finetune", *options, *given, "--out=run")
    assert ran.code == 0, ran.err
    metrics = read("run/metrics.json")
    (found,) = metrics["cross_corpus"]
    runs = [read(f"run/{run['folder']}/metrics.json")["cross_corpus"][0] for run in metrics["runs"]]
    assert found["n"] == runs[0]["n"] < 5
    for name in ("ua", "wa", "macro_f1"):
        assert found[name] == pytest.approx(np.mean([run[name] for run in runs]))
        spread = np.std([run[name] for run in runs], ddof=1)
        assert found["std"][name] == pytest.approx(spread)
    assert "test on other: UA" in ran.err


def test_a_section_is_for_a_corpus_and_also_for_what_is_trained_on(
    run_cli: Run, options: list[str], other: Path
) -> None:
    lines = "other: {low: voiced, high: voiced, hiss: noise, click: null}\n"
    Path("map.yaml").write_text(lines + "own: {hum: voiced, tone: voiced}\n")
    given = ["--test-data", other, "--label-map=map.yaml", "--out=run"]
    ran = run_cli("finetune", *options, *given)
    assert ran.code == 0, ran.err
    metrics = read("run/metrics.json")
    assert metrics["labels"] == ["noise", "voiced"]
    assert metrics["cross_corpus"][0]["n"] == 5
    # Without another corpus too; and what a section leaves out of training is counted.
    Path("map.yaml").write_text("own: {hum: null}\n")
    ran = run_cli("finetune", *options, "--label-map=map.yaml", "--out=two")
    assert ran.code == 0, ran.err
    metrics = read("two/metrics.json")
    assert metrics["labels"] == ["noise", "tone"]
    assert metrics["left_out_labels"] == {"hum": 7}


def test_what_cannot_be_tested_on_is_refused_before_anything_is_computed(
    run_cli: Run, options: list[str], other: Path, own: Path
) -> None:
    def refused(*given: Any, map_text: str = MAP) -> str:
        Path("map.yaml").write_text(map_text)
        ran = run_cli("finetune", *options, *given, "--out=run")
        assert ran.code == 2, given
        assert "Traceback" not in ran.err
        assert not Path("run").exists()
        return str(ran.err)

    told = refused("--test-data", other)
    assert "other.csv: 6 clips have labels that are none of the model's (hum, noise, tone)" in told
    given = ("--test-data", other, "--label-map=map.yaml")
    assert "'hun' is none of the model's labels" in refused(*given, map_text="low: hun\n")
    assert "no clip has the label clack" in refused(*given, map_text=MAP + "clack: null\n")
    told = refused(*given, map_text=MAP + "othr: {low: hum}\n")
    assert "the section 'othr' belongs to no corpus" in told
    assert "did you mean 'other'" in told
    told = refused(*given, "--test-split=valid")
    assert "--test-split valid: no clip of" in told
    assert "`--test-split all` scores every clip" in told
    told = refused("--label-map=map.yaml")
    assert "its lines are for --test-data, which is not given" in told
    copy = Path("copy.csv")
    copy.write_text(own.read_text())
    told = refused("--test-data", copy)
    assert f"--test-data {copy}: 19 of its 19 clips are also in --data" in told
    assert "is named twice" in refused("--test-data", own)
    assert "does not exist" in refused("--test-data", "nowhere.csv")


def test_corpora_of_one_file_name_bear_their_folders(tmp_path: Path) -> None:
    sources = [str(tmp_path / name) for name in ("a/clips.csv", "b/clips.csv", "emodb.jsonl")]
    assert name_corpora(sources) == ["a-clips", "b-clips", "emodb"]
    alike = [str(tmp_path / name) for name in ("a/x/m.csv", "b/x/m.csv", "b/x/m.jsonl", "n.csv")]
    found = name_corpora(alike)
    assert (found[0], found[3]) == ("a-x-m", "n")
    assert len(set(found)) == 4
    assert name_corpora([]) == []
    with pytest.raises(UsageError, match="is named twice"):
        name_corpora([sources[0], str(tmp_path / "b" / ".." / "a" / "clips.csv")])


@pytest.mark.slow
def test_processes_do_not_change_what_other_corpora_score(
    run_cli: Run, run_process: Run, options: list[str], other: Path
) -> None:
    Path("map.yaml").write_text(MAP)
    given = ["--test-data", other, "--label-map=map.yaml", "--head.dropout=0"]
    assert run_cli("finetune", *options, *given, "--out=one").code == 0
    ran = run_process("finetune", *options, *given, "--out=two", processes=2)
    assert ran.code == 0, ran.err
    found = [read(f"{out}/metrics.json")["cross_corpus"] for out in ("one", "two")]
    for entry, same in zip(*found, strict=True):
        assert entry["confusion"] == same["confusion"]
        assert entry["ci95"] == same["ci95"]
