# SPDX-License-Identifier: Apache-2.0
"""Runs of several folds and seeds, joined."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from voxadapt.recipes.corpora.splits import digest_rows
from voxadapt.recipes.finetuning.joined_runs import (
    recall_of,
    resampling_units,
    score_records,
    spread_over_seeds,
    without_fold,
)

Run = Callable[..., Any]
LABELS = ["hum", "noise", "tone"]


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_lines(path: Path | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def joined(
    run_recipe: Run, finetune_options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Each speaker tested once, with two seeds; not to be written to."""
    out = tmp_path_factory.mktemp("joined") / "run"
    options = [*finetune_options, "--epochs=1", "--adapter=none", "--report-clips=0", "--seeds=2"]
    given = ["--protocol=leave-one-speaker-out", "--folds=all", "--out", out]
    ran = run_recipe("finetune", *options, *given)
    assert ran.code == 0, ran.err
    return out, read(out / "metrics.json")


def test_means_and_spreads_over_runs_folds_and_seeds(joined: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = joined
    runs = [read(out / run["folder"] / "metrics.json") for run in metrics["runs"]]
    assert [(run["fold"], run["seed"]) for run in runs] == [
        (f"s{speaker}", seed) for speaker in range(4) for seed in (0, 1)
    ]
    for name in ("ua", "wa", "macro_f1"):
        table = np.array([run[name] for run in runs]).reshape(4, 2)  # [folds, seeds]
        assert metrics[name] == pytest.approx(table.mean())
        assert metrics["std"][name] == pytest.approx(table.std(ddof=1))
        by_fold = [entry[name] for entry in metrics["by_fold"]]
        assert [entry["mean"] for entry in by_fold] == pytest.approx(list(table.mean(axis=1)))
        assert [entry["std"] for entry in by_fold] == pytest.approx(list(table.std(axis=1, ddof=1)))
        by_seed = [entry[name]["mean"] for entry in metrics["by_seed"]]
        assert by_seed == pytest.approx(list(table.mean(axis=0)))
        spread = table.mean(axis=0).std(ddof=1)
        assert metrics["std_over_seeds"][name] == pytest.approx(spread)
    assert [entry["n"] for entry in metrics["by_fold"]] == [14, 12, 12, 12]
    assert metrics["ece"] == pytest.approx(np.mean([run["ece"] for run in runs]))
    assert metrics["protocol"] == "speaker:all"
    assert metrics["protocol_name"] == runs[0]["protocol_name"] == "leave-one-speaker-out-v1"
    assert [run["protocol"] for run in runs[::2]] == [f"speaker:s{number}" for number in range(4)]
    assert metrics["runs"][3]["valid_ua"] == runs[3]["valid"]["ua"]


def test_all_predictions_together(joined: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = joined
    records = read_lines(out / "predictions.jsonl")
    assert len(records) == metrics["n"] == 50
    for run in metrics["runs"]:
        own = read_lines(out / run["folder"] / "predictions.jsonl")
        mark = {"fold": run["fold"], "seed": run["seed"]}
        assert [{**record, **mark} for record in own] == [
            record for record in records if mark.items() <= record.items()
        ]
    true, predicted = ([record[name] for record in records] for name in ("label", "predicted"))
    matrix = confusion_matrix(true, predicted, labels=LABELS)
    assert metrics["confusion"] == matrix.tolist()
    assert metrics["pooled"] == {
        "wa": pytest.approx(accuracy_score(true, predicted)),
        "ua": pytest.approx(recall_score(true, predicted, average="macro")),
        "macro_f1": pytest.approx(f1_score(true, predicted, average="macro")),
    }
    recall = recall_score(true, predicted, average=None, labels=LABELS)
    assert list(metrics["per_class_recall"].values()) == pytest.approx(list(recall))
    assert list(metrics["by_speaker"]) == ["s0", "s1", "s2", "s3"]
    for name, scores in metrics["by_speaker"].items():
        right = [r["label"] == r["predicted"] for r in records if r["speaker"] == name]
        assert (scores["n"], scores["wa"]) == (len(right), pytest.approx(np.mean(right)))
    assert sum(bucket["n"] for bucket in metrics["by_duration"]) == 50
    tested = {(record["id"], record["label"]) for record in records}
    assert metrics["test_fingerprint"] == digest_rows(tested)


def test_each_run_says_how_large_its_parts_are(joined: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = joined
    for run in metrics["runs"]:
        found = read(out / run["folder"] / "metrics.json")
        parts = read(out / run["folder"] / "splits.json")
        assert parts["protocol_name"] == "leave-one-speaker-out-v1"
        assert parts["fingerprint"] == found["split_fingerprint"]
        assert sum(found["speaker_counts"].values()) == 4
        assert found["speaker_counts"]["test"] == 1
        for name in ("train", "valid", "test"):
            assert sum(found["class_counts"][name].values()) == len(parts[name])
            labels = [clip.split("_")[0] for clip in parts[name]]
            counts = {label: labels.count(label) for label in LABELS}
            assert found["class_counts"][name] == counts


def make_records(speakers: int, seeds: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "id": f"c{clip}",
            "label": LABELS[clip % 3],
            "predicted": LABELS[(clip + (clip % 5 == 0)) % 3],
            "speaker": f"s{clip % speakers}" if speakers else None,
            "seconds": 1.0,
        }
        for _ in range(seeds)
        for clip in range(60)
    ]


def test_speakers_are_resampled_where_enough_are_known() -> None:
    records = make_records(6)
    assert resampling_units(records) == ([record["speaker"] for record in records], "speaker")
    assert score_records(records, LABELS)["ci95"]["unit"] == "speaker"
    for few in (make_records(4), make_records(0)):
        assert resampling_units(few) == ([record["id"] for record in few], "clip")
        assert score_records(few, LABELS)["ci95"]["unit"] == "clip"


def test_seeds_are_no_more_clips() -> None:
    one, five = (score_records(make_records(0, seeds), LABELS)["ci95"] for seeds in (1, 5))
    assert five["ua"] == pytest.approx(one["ua"])


def test_predictions_without_seconds_are_of_an_older_run() -> None:
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in make_records(6)]
    assert score_records(records, LABELS)["by_duration"] == []


def test_small_parts() -> None:
    assert without_fold("split-column+speaker-overlap") == "split-column+speaker-overlap"
    assert without_fold("speaker-disjoint-fold:3/5") == "speaker-disjoint-fold:all"
    assert without_fold("session:2+speaker-overlap") == "session:all+speaker-overlap"
    assert recall_of(["a", "b"], np.array([[3, 1], [0, 0]])) == {"a": 0.75, "b": None}
    entries = [{"ua": {"mean": mean}, "x": {"mean": None}} for mean in (0.2, 0.4)]
    spread = spread_over_seeds(entries, ("ua", "x"))
    assert spread == {"ua": pytest.approx(np.std([0.2, 0.4], ddof=1))}
    assert spread_over_seeds(entries[:1], ("ua",)) is None
