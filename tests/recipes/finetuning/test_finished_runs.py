# SPDX-License-Identifier: Apache-2.0
"""Finished runs of a resumed command: kept, unless the manifest has changed since."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.finetuning import run_once
from voxadapt.recipes.running.run_folder import write_json

Run = Callable[..., Any]
Rows = list[dict[str, str]]
FIRST, SECOND = "run/fold-none/seed-0/metrics.json", "run/fold-none/seed-1/metrics.json"


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def run_on(
    run_cli: Run, finetune_options: list[str], write_rows: Callable[..., Path]
) -> Callable[..., Any]:
    """Two seeds on rows of a manifest, which always has the same name."""

    def run(rows: Rows, *changes: str) -> Any:
        options = [*finetune_options, "--data", write_rows(rows), "--allow-outside", "--seeds=2"]
        options += ["--adapter=none", "--epochs=1", "--report-clips=0", "--out=run"]
        return run_cli("finetune", *options, *changes)

    return run


def changed(rows: Rows, change: str) -> Rows:
    """The rows with a change to their last clip, which is of the test part, or to their order."""
    *others, last = rows
    if change == "label":
        return [*others, {**last, "label": "hum"}]
    if change == "part":
        return [*others, {**last, "split": "valid", "speaker": "s2"}]
    if change == "clip":
        return others
    return [last, *others]


@pytest.mark.parametrize("jobs", ["--jobs=1", "--jobs=2"])
def test_runs_on_two_data_sets_are_not_joined(
    jobs: str, run_on: Run, corpus_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_on(corpus_rows).code == 0
    monkeypatch.setattr(run_once, "fit", None)  # nothing is trained
    ran = run_on(corpus_rows, "--resume", jobs)  # all are finished
    assert ran.code == 0, ran.err
    Path(SECOND).unlink()  # as if killed in the second
    Path("run/metrics.json").unlink()
    for change in ("label", "part", "clip"):
        ran = run_on(changed(corpus_rows, change), "--resume", jobs)
        assert ran.code == 2, ran.err
        assert "Traceback" not in ran.err
        assert f"{Path(FIRST).parent}: --resume found a finished run on other clips" in ran.err
        assert "Put it back as it was, or give another --out" in ran.err
        assert not Path(SECOND).exists()
        assert not Path("run/metrics.json").exists()


def test_the_order_of_the_manifest_does_not_matter_nor_a_run_without_fingerprint(
    run_on: Run, corpus_rows: Rows
) -> None:
    assert run_on(corpus_rows).code == 0
    Path("run/metrics.json").unlink()
    assert run_on(changed(corpus_rows, "order"), "--resume").code == 0
    for file in (FIRST, SECOND):
        metrics = read(file)
        # Older runs had none; the joined ones list theirs.
        write_json(Path(file), {**metrics, "split_fingerprint": None})
    assert run_on(changed(corpus_rows, "label"), "--resume").code == 0
