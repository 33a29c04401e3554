# SPDX-License-Identifier: Apache-2.0
"""A model is scored by the column that it was trained on, where the data has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes import export

Run = Callable[..., Any]
Rows = list[dict[str, str]]


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def by_sound(
    run_recipe: Run,
    finetune_options: list[str],
    corpus_rows: Rows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run with ``--label sound``; its manifest's ``label`` is something else."""
    folder = tmp_path_factory.mktemp("by_sound")
    lines = [json.dumps({**row, "sound": row["label"], "label": "x"}) for row in corpus_rows]
    (folder / "clips.jsonl").write_text("\n".join(lines))
    options = [*finetune_options, "--adapter=none", "--epochs=1", "--report-clips=0"]
    options += ["--data", folder / "clips.jsonl", "--allow-outside", "--label=sound"]
    ran = run_recipe("finetune", *options, "--out", folder / "run")
    assert ran.code == 0, ran.err
    return folder / "run"


def test_score_reads_the_column_of_the_training(
    by_sound: Path, run_cli: Run, features: Path
) -> None:
    given = ["--data", by_sound.parent / "clips.jsonl", "--features", features, "--allow-outside"]
    ran = run_cli("score", by_sound, *given, "--out=score.json")
    assert ran.code == 0, ran.err
    score, metrics = read("score.json"), read(by_sound / "metrics.json")
    assert (score["n"], score["ua"]) == (metrics["n"], metrics["ua"])
    assert score["label_column"] == "sound"
    assert "which this data has not" not in ran.err
    # What is named is read.
    ran = run_cli("score", by_sound, *given, "--label=label")
    assert ran.code == 2
    assert "'x'" in ran.err


def test_data_without_the_column_is_scored_by_its_label_and_that_is_said(
    by_sound: Path, run_cli: Run, features: Path, corpus: Path, write_rows: Callable[..., Path]
) -> None:
    ran = run_cli("score", by_sound, "--data", corpus, "--features", features, "--out=score.json")
    assert ran.code == 0, ran.err
    assert read("score.json")["label_column"] == "label"
    assert (
        "the model was trained on the column 'sound', which this data has not: it is scored by "
        "'label'. --label COLUMN names another" in ran.err
    )


def test_a_column_that_is_there_is_not_passed_over_for_what_is_wrong_with_it(
    by_sound: Path,
    run_cli: Run,
    corpus_rows: Rows,
    write_rows: Callable[..., Path],
) -> None:
    rows = [{**row, "sound": row["label"]} for row in corpus_rows]
    rows[3]["sound"] = ""
    ran = run_cli("score", by_sound, "--data", write_rows(rows), "--allow-outside")
    assert ran.code == 2
    assert "the label column 'sound' is empty" in ran.err
    bare = [{"path": row["path"], "mood": row["label"]} for row in corpus_rows]
    ran = run_cli("score", by_sound, "--data", write_rows(bare), "--allow-outside")
    assert ran.code == 2
    assert "there is no column 'sound'" in ran.err


def test_export_compares_on_the_column_of_the_training(by_sound: Path, run_cli: Run) -> None:
    options = export.ExportOptions(run=str(by_sound), int8=True, allow_outside=True)
    clips = export.labelled_clips(options, SpeechClassifier.from_pretrained(by_sound))
    assert {clip.label for clip in clips} == {"hum", "noise", "tone"}
