# SPDX-License-Identifier: Apache-2.0
"""What runs have written is read back, and what is missing or damaged is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.run_folder import claim_out
from voxadapt.recipes.scoring.run_reading import (
    read_lines,
    read_metrics,
    read_parts,
    read_predictions,
    refuse_pretraining,
)

RECORD = {"id": "a", "label": "x", "predicted": "y", "speaker": None}


def write(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_runs_predictions_are_read(tmp_path: Path) -> None:
    write(tmp_path / "metrics.json", {"ua": 0.5})
    write(tmp_path / "predictions.jsonl", RECORD, {**RECORD, "id": "b"})
    assert read_metrics(tmp_path) == {"ua": 0.5}
    assert [record["id"] for record in read_predictions(tmp_path)] == ["a", "b"]


def test_joined_runs_without_their_own_file_are_read_from_each_run(tmp_path: Path) -> None:
    runs = [{"folder": f"fold-{fold}/seed-0", "fold": fold, "seed": 0} for fold in ("1", "2")]
    write(tmp_path / "metrics.json", {"runs": runs})
    for run in runs:
        write(tmp_path / run["folder"] / "predictions.jsonl", {**RECORD, "id": run["fold"]})
    found = read_predictions(tmp_path)
    assert found == [{**RECORD, "id": fold, "fold": fold, "seed": 0} for fold in ("1", "2")]
    write(tmp_path / "predictions.jsonl", {**RECORD, "fold": "9"})
    assert read_predictions(tmp_path) == [{**RECORD, "fold": "9"}]


def test_parts_are_those_of_the_run_whose_model_it_is(tmp_path: Path) -> None:
    assert read_parts(tmp_path) is None
    weights = tmp_path / "model" / "model.safetensors"
    for fold in ("a", "b", "c"):
        run = tmp_path / f"fold-{fold}" / "seed-0"
        write(run / "splits.json", {"train": ["t"], "valid": ["v"], "test": [fold]})
        (run / "model").mkdir()
        (run / "model" / weights.name).write_text(fold)
    assert read_parts(tmp_path) is None
    weights.parent.mkdir()
    weights.write_text("b")
    for place in (tmp_path, tmp_path / "model"):
        assert read_parts(place) == {"train": ["t"], "valid": ["v"], "test": ["b"]}
    weights.write_text("d")
    assert read_parts(tmp_path) is None
    write(tmp_path / "splits.json", {"train": ["a"], "valid": []})
    with pytest.raises(UsageError, match=r"splits\.json: cannot be read \(KeyError\('test'\)\)"):
        read_parts(tmp_path)


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no metrics.json, so it is not the folder"):
        read_predictions(tmp_path)
    (tmp_path / "metrics.json").write_text("{half")
    with pytest.raises(UsageError, match=r"metrics\.json: cannot be read"):
        read_metrics(tmp_path)
    write(tmp_path / "metrics.json", [1])
    with pytest.raises(UsageError, match="is not what finetune writes"):
        read_metrics(tmp_path)
    write(tmp_path / "metrics.json", {"ua": 1})
    with pytest.raises(UsageError, match=r"predictions\.jsonl: is missing"):
        read_predictions(tmp_path)
    path = write(tmp_path / "predictions.jsonl", RECORD, {"id": "b"})
    with pytest.raises(UsageError, match="line 2: has no predicted"):
        read_lines(path)
    path.write_text("nothing\n")
    with pytest.raises(UsageError, match="line 1"):
        read_lines(path)
    path.write_text("")
    with pytest.raises(UsageError, match="is empty"):
        read_lines(path)


def test_a_line_ends_where_json_says_so(tmp_path: Path) -> None:
    records = [{**RECORD, "id": "a\u2028b\x85c"}, RECORD]
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    (tmp_path / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    assert read_lines(tmp_path / "predictions.jsonl") == records


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(UsageError, match=r"predictions\.jsonl: cannot be read"):
        read_lines(tmp_path / "predictions.jsonl")


@pytest.mark.parametrize(
    "command",
    ["report", "predict a.wav", "score", "timeline a.wav", "merge --out m", "export", "serve"],
)
def test_a_pretraining_run_is_told_of_as_one(
    command: str, run_cli: Callable[..., Any], pretrained: Path
) -> None:
    recipe, *more = command.split()
    for named in (pretrained, pretrained / "adapter"):
        ran = run_cli(recipe, named, *more)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err == (
            f"error: {named}: is what pretrain_adapter left, an adapter and no classifier; give "
            "the folder of a finished run of finetune. To train one on labelled speech: "
            f"`finetune.py --adapter {pretrained} --data LABELLED.csv`. What the "
            f"pretraining did is in {pretrained / 'report.html'}.\n"
        )
    assert list(Path(".").iterdir()) == []


def test_a_pretraining_run_has_no_metrics_to_compare(tmp_path: Path) -> None:
    run = tmp_path / "pre train"
    claim_out(run, "pretrain_adapter", {})
    said = r"is what pretrain_adapter left.* `finetune.py --adapter '.*pre train' --data"
    with pytest.raises(UsageError, match=said) as raised:
        read_metrics(run)
    assert "report.html" not in str(raised.value)  # unfinished, it has none


def test_a_record_that_cannot_be_read_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> str:
        raise PermissionError

    claim_out(tmp_path, "pretrain_adapter", {})
    monkeypatch.setattr(Path, "read_text", refuse)
    refuse_pretraining(tmp_path)


def test_other_folders_and_hub_ids_are_no_pretraining_runs(tmp_path: Path) -> None:
    claim_out(tmp_path / "run", "finetune", {})
    (tmp_path / "adapter").mkdir()
    for named in (tmp_path / "run", tmp_path / "adapter", tmp_path / "none", "owner/name"):
        refuse_pretraining(named)
