# SPDX-License-Identifier: Apache-2.0
"""Corpora that ``finetune`` cannot learn from, or only so: one message, or a declared result."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
Rows = list[dict[str, str]]


@pytest.fixture
def run_on(
    run_cli: Run, finetune_options: list[str], write_rows: Callable[..., Path]
) -> Callable[..., Any]:
    """Fine-tune on rows of a manifest: ``run_on(rows, "--label=style")``."""

    def run(rows: Rows, *changes: str) -> Any:
        options = [*finetune_options, "--data", write_rows(rows), "--allow-outside"]
        return run_cli("finetune", *options, "--adapter=none", "--epochs=1", "--out=run", *changes)

    return run


def refused(ran: Any, *needles: str) -> None:
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    for needle in needles:
        assert needle in ran.err
    assert not Path("run/model").exists()


def scored(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    metrics: dict[str, Any] = json.loads(Path("run/metrics.json").read_text(encoding="utf-8"))
    return metrics


def test_one_class_only(run_on: Run, corpus_rows: Rows) -> None:
    ran = run_on([{**row, "label": "hum"} for row in corpus_rows])
    refused(ran, "every clip of train has the label 'hum'; at least two classes must be in train")


@pytest.mark.parametrize("columns", [("split",), ("split", "speaker")])
def test_a_class_of_one_clip_trains_and_is_not_scored(
    columns: tuple[str, ...], run_on: Run, corpus_rows: Rows
) -> None:
    """Where parts are drawn; a class that train did not have could not be learnt."""
    rows = [{name: row[name] for name in row if name not in columns} for row in corpus_rows]
    rows[0]["label"] = "whistle"
    metrics = scored(run_on(rows))
    assert metrics["labels"] == ["hum", "noise", "tone", "whistle"]
    assert metrics["per_class_recall"]["whistle"] is None
    assert metrics["ua"] == pytest.approx(
        np.mean([metrics["per_class_recall"][name] for name in ("hum", "noise", "tone")])
    )
    assert "test has no clip of 'whistle'" in metrics["notes"]
    assert "valid has no clip of 'whistle'" in metrics["notes"]


def test_a_class_of_one_clip_that_is_in_test(run_on: Run, corpus_rows: Rows) -> None:
    rows = [dict(row) for row in corpus_rows]
    rows[-1]["label"] = "whistle"
    refused(run_on(rows), "label 'whistle' is in test (1 clips) but never in train")


def test_a_fold_without_some_class(run_on: Run, corpus_rows: Rows) -> None:
    rows = [row for row in corpus_rows if (row["fold"], row["label"]) != ("2", "tone")]
    metrics = scored(run_on(rows, "--fold=2"))
    assert metrics["per_class_recall"]["tone"] is None
    assert "test has no clip of 'tone'" in metrics["notes"]
    shutil.rmtree("run")
    # Trained on the fold that lacks it, the class of the other cannot be known.
    refused(run_on(rows, "--fold=1"), "label 'tone' is in test (4 clips) but never in train")
    refused(run_on(rows, "--fold=all"), "label 'tone' is in test")


def test_one_clip(run_on: Run, corpus_rows: Rows) -> None:
    for columns in ((), ("split",)):
        row = {name: value for name, value in corpus_rows[0].items() if name not in columns}
        refused(run_on([row]), "the corpus has 1 clip; at least 4 are needed")


def test_labels_that_differ_by_case(run_on: Run, corpus_rows: Rows) -> None:
    rows = [dict(row) for row in corpus_rows]
    rows[0]["label"] = "Hum"
    refused(run_on(rows), "differ by case or spaces only", "'Hum' (1 clips) and 'hum' (8 clips)")


def test_space_around_a_label_is_taken_off(run_on: Run, corpus_rows: Rows) -> None:
    rows = [dict(row) for row in corpus_rows]
    rows[0]["label"] = " hum "
    assert scored(run_on(rows))["labels"] == ["hum", "noise", "tone"]


def test_features_of_the_cache_that_are_not_finite(
    run_on: Run, corpus_rows: Rows, features: Path, tmp_path: Path
) -> None:
    scored(run_on(corpus_rows))  # the cache is filled, whichever test came first
    shutil.rmtree("run")
    shutil.copytree(features, tmp_path / "cache")
    for file in sorted((tmp_path / "cache").rglob("*.npy")):
        rows = np.load(file)
        rows[len(rows) // 2] = np.nan
        np.save(file, rows)
    ran = run_on(corpus_rows, f"--features={tmp_path / 'cache'}")
    refused(ran, "hold NaN or infinity", ".npy", "Delete it and start again")
    shutil.rmtree("run")
    for file in (tmp_path / "cache").rglob("*.npy"):
        file.unlink()
    scored(run_on(corpus_rows, f"--features={tmp_path / 'cache'}"))


@pytest.mark.parametrize(
    "changes",
    [
        ["--mixup=0.2"],
        ["--sampling=balanced"],
        ["--class-weights=balanced"],
        ["--patience=3"],
        ["--head.output_size=8"],
        ["--label=style"],
    ],
)
def test_a_resumed_run_with_another_config(
    changes: list[str], run_on: Run, corpus_rows: Rows
) -> None:
    rows = [{**row, "style": row["label"]} for row in corpus_rows]
    assert run_on(rows, "--epochs=2", "--max-epochs=1").code == 0
    name = changes[0].partition("=")[0].lstrip("-").replace("-", "_")
    refused(run_on(rows, "--epochs=2", "--resume", *changes), "with other options", f"{name} was")


VALUES = ["--task=regression", "--label=arousal"]


@pytest.mark.parametrize("text", ["high", "", "nan", "1,5"])
def test_values_that_are_no_numbers(text: str, run_on: Run, corpus_rows: Rows) -> None:
    rows = [{**row, "arousal": str(number)} for number, row in enumerate(corpus_rows)]
    rows[3]["arousal"] = text
    ran = run_on(rows, *VALUES)
    if text:
        refused(ran, "every clip needs a number", f"clip {rows[3]['id']!r}: arousal is {text!r}")
    else:
        refused(ran, "the label column 'arousal' is empty")


def test_values_that_are_all_the_same(run_on: Run, corpus_rows: Rows) -> None:
    ran = run_on([{**row, "arousal": "2.5"} for row in corpus_rows], *VALUES)
    refused(ran, "arousal")
    rows = [{**row, "arousal": str(n), "valence": "1"} for n, row in enumerate(corpus_rows)]
    ran = run_on(rows, "--task=regression", "--label=arousal,valence")
    refused(ran, "every clip of train has the same value of 'valence'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--class-weights=balanced", "--sampling=balanced"], "Leave one out"),
        ([*VALUES, "--sampling=balanced"], "a regression has no classes"),
        (["--mixup=-1"], "--mixup: found -1.0, must be a finite number of 0 or more"),
        (["--patience=0"], "--patience: found 0, must be 1 or more"),
        (["--label-weights", "1", "2"], "one finite number of 0 or more for each of the 1 columns"),
        (["--label=label,"], "--label label,: give the name of a column"),
        (["--label=label,nothing"], "no clip has anything in the column 'nothing'"),
        (["--head.head_size=8"], "--head.head_size: the 'sap' pooler has no such option; it has "),
        (["--bottleneck.size=0"], "size: found 0, must be at least 1"),
    ],
)
def test_options_that_do_not_fit(
    changes: list[str], message: str, run_on: Run, corpus_rows: Rows
) -> None:
    rows = [{**row, "arousal": str(number)} for number, row in enumerate(corpus_rows)]
    refused(run_on(rows, *changes), message)
    assert not Path("run").exists()
