# SPDX-License-Identifier: Apache-2.0
"""``score`` tells how many of its clips the model was trained on, and those alone."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.scoring.heard_clips import say_heard
from voxadapt.recipes.scoring.run_reading import run_of_model

Run = Callable[..., Any]
Rows = list[dict[str, str]]
WARNED = "clips are no test of this model"


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def heard(run_cli: Run, features: Path) -> Callable[..., Any]:
    """Score all clips: ``heard(run, manifest)`` gives what is in the JSON, and the log."""

    def score(run: Path | str, *data: Path | str, split: str = "all") -> tuple[Any, str]:
        Path("score.json").unlink(missing_ok=True)
        Path("score.predictions.jsonl").unlink(missing_ok=True)
        given = ["--features", features, "--allow-outside", "--split", split, "--out=score.json"]
        ran = run_cli("score", run, "--data", *data, *given)
        assert ran.code == 0, ran.err
        return read("score.json")["heard"], ran.err

    return score


def test_the_data_of_the_run_is_counted_by_part(
    heard: Callable[..., Any], finetuned: Path, corpus: Path
) -> None:
    for run in (finetuned, finetuned / "model"):
        found, said = heard(run, corpus)
        assert found == {"train": 13, "valid": 6, "known_by": "audio"}
        assert f"19 of the 25 {WARNED}: it was trained on 13, and 6 chose its epoch\n" in said
    assert heard(finetuned, corpus, split="train")[0]["train"] == 13
    found, said = heard(finetuned, corpus, split="test")
    assert found == {"train": 0, "valid": 0, "known_by": "audio"}
    assert WARNED not in said


def test_the_same_audio_is_found_under_other_ids_and_in_another_place(
    heard: Callable[..., Any],
    finetuned: Path,
    corpus_rows: Rows,
    write_rows: Callable[..., Path],
    tmp_path: Path,
) -> None:
    known = {"train": 13, "valid": 6, "known_by": "audio"}
    renamed = [{**row, "id": f"new-{row['id']}"} for row in corpus_rows]
    assert heard(finetuned, write_rows(renamed))[0] == known
    (tmp_path / "moved").mkdir()
    moved = [{**row, "path": shutil.copy(row["path"], tmp_path / "moved")} for row in corpus_rows]
    assert heard(finetuned, write_rows(moved))[0] == known
    several = write_rows(moved[:14], "one.csv"), write_rows(moved[14:], "two.csv")
    assert heard(finetuned, *several)[0] == known


def test_another_corpus_with_the_same_ids_is_not_the_one_trained_on(
    heard: Callable[..., Any],
    finetuned: Path,
    corpus_rows: Rows,
    write_rows: Callable[..., Path],
) -> None:
    test = [row for row in corpus_rows if row["split"] == "test"]
    other = [
        {**row, "id": again["id"]} for row, again in zip(test, corpus_rows, strict=False)
    ]  # the ids of train, the audio of test
    found, said = heard(finetuned, write_rows(other))
    assert found == {"train": 0, "valid": 0, "known_by": "audio"}
    assert WARNED not in said


def test_without_the_data_of_the_run_ids_are_compared_and_that_is_said(
    heard: Callable[..., Any],
    finetuned: Path,
    corpus: Path,
    corpus_rows: Rows,
    write_rows: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run = shutil.copytree(finetuned, tmp_path / "run")
    record = read(run / "run.json")
    gone, changed = tmp_path / "gone.csv", write_rows(corpus_rows[1:], "changed.csv")
    for source in (gone, changed):
        record["config"] |= {"data": [str(source)], "allow_outside": True}
        (run / "run.json").write_text(json.dumps(record))
        found, said = heard(run, corpus)
        assert found == {"train": 13, "valid": 6, "known_by": "ids"}
        assert "by their ids alone: the data of the run cannot be read here" in said
    # A model on its own cannot tell.
    model = shutil.copytree(finetuned / "model", tmp_path / "alone")
    found, said = heard(model, corpus)
    assert found is None
    assert WARNED not in said


def test_the_model_of_several_runs_is_the_one_that_was_copied(
    heard: Callable[..., Any], run_cli: Run, finetune_options: list[str], corpus: Path
) -> None:
    options = [*finetune_options, "--epochs=1", "--adapter=none", "--report-clips=0", "--out=run"]
    assert run_cli("finetune", *options, "--fold=all").code == 0
    folder = run_of_model("run")
    assert folder is not None
    splits = read(folder / "splits.json")
    assert run_of_model("run/model") == folder
    assert run_of_model(str(folder / "model")) == run_of_model(str(folder)) == folder
    weights = [Path(place, "model/model.safetensors").read_bytes() for place in ("run", folder)]
    assert weights[0] == weights[1]
    for run in ("run", folder):
        found, _ = heard(run, corpus)
        assert found["train"] == len(splits["train"])
        assert found["valid"] == len(splits["valid"])
    assert run_of_model("user/model") is None


def test_only_clips_that_were_heard_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        say_heard(None, 5)
        say_heard({"train": 0, "valid": 0, "known_by": "ids"}, 5)
    assert caplog.text == ""
    say_heard({"train": 0, "valid": 1, "known_by": "audio"}, 5)
    assert f"1 of the 5 {WARNED}" in caplog.text
