# SPDX-License-Identifier: Apache-2.0
"""A recording that is in two parts under two names is refused, or noted where it is accepted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Rows = list[dict[str, str]]
NOTE = "1 of the 7 clips of test are also in train, under other names: 'again'"


@pytest.fixture
def run_on(
    run_cli: Run, finetune_options: list[str], write_rows: Callable[..., Path]
) -> Callable[..., Any]:
    """Fine-tune on rows of a manifest: ``run_on(rows, "--fold=all")``."""

    def run(rows: Rows, *changes: str) -> Any:
        options = [*finetune_options, "--data", write_rows(rows), "--allow-outside", "--epochs=1"]
        return run_cli("finetune", *options, "--adapter=none", "--out=run", *changes)

    return run


@pytest.fixture
def rows(corpus_rows: Rows, tmp_path: Path) -> Rows:
    """The tiny corpus, and the first clip of train once more in test and fold 2 by another name."""
    copy = shutil.copy(corpus_rows[0]["path"], tmp_path / "copy.wav")
    again = {**corpus_rows[-1], "id": "again", "path": str(copy), "label": corpus_rows[0]["label"]}
    return [*corpus_rows, again]


def test_a_copy_in_another_part_is_refused(run_on: Run, rows: Rows) -> None:
    ran = run_on(rows)
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    assert f"  - {NOTE}" in ran.err
    assert "check-data MANIFEST --fix" in ran.err
    assert not Path("run/history.json").exists()
    assert not Path("run/checkpoint.pt").exists()


def test_copies_of_all_folds_are_named_before_any_is_trained(run_on: Run, rows: Rows) -> None:
    ran = run_on(rows, "--fold=all")
    assert ran.code == 2, ran.err
    for fold, clip in (("1", rows[0]["id"]), ("2", "again")):
        assert f"fold {fold}, seed 0: 1 of the 13 clips of test are also in train" in ran.err
        assert f"under other names: {clip!r}" in ran.err
    assert not Path("run/fold-1").exists()


def test_copies_that_are_accepted_are_noted(run_on: Run, rows: Rows) -> None:
    ran = run_on(rows, "--allow-speaker-overlap")
    assert ran.code == 0, ran.err
    assert f"note: {NOTE}" in ran.err
    metrics = json.loads(Path("run/metrics.json").read_text(encoding="utf-8"))
    assert NOTE in metrics["notes"]
    assert "under other names" in Path("run/report.html").read_text(encoding="utf-8")


def test_copies_in_one_part_and_parts_of_one_file_are_none_in_two(
    run_on: Run, rows: Rows, corpus_rows: Rows
) -> None:
    part = {"split": "train", "speaker": "s0"}
    cuts = [
        {**row, "id": f"{row['id']}-{start}", "start": start, "end": end}
        for row in corpus_rows
        for start, end in (("0", "0.1"), ("0.1", "0.2"))
    ]
    for kept in ([*rows[:-1], {**rows[-1], **part}], cuts):
        ran = run_on(kept)
        assert ran.code == 0, ran.err
        assert "under other names" not in ran.err
        shutil.rmtree("run")
