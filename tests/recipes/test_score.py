# SPDX-License-Identifier: Apache-2.0
"""``score``: the same numbers as the run's own, on whatever part is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes import score
from voxadapt.recipes.running import encoder_precision

Run = Callable[..., Any]
Rows = list[dict[str, str]]


@pytest.fixture
def options(corpus: Path, features: Path) -> list[str]:
    return ["--data", str(corpus), "--features", str(features)]


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_the_test_part_scores_what_the_run_found(
    run_cli: Run, options: list[str], finetuned: Path
) -> None:
    ran = run_cli("score", finetuned, *options, "--split=test", "--out=score.json")
    assert ran.code == 0, ran.err
    found, metrics = read("score.json"), read(finetuned / "metrics.json")
    for name in ("labels", "n", "ua", "wa", "macro_f1", "confusion", "ci95", "per_class_recall"):
        assert found[name] == metrics[name], name
    assert found["ece"] == pytest.approx(metrics["ece"], abs=1e-4)
    assert found["left_out"] == 0
    assert found["config"]["run"] == str(finetuned)
    lines = [
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (Path("score.predictions.jsonl"), finetuned / "predictions.jsonl")
    ]
    assert len(lines[0]) == 6
    for record, other in zip(*lines, strict=True):
        probabilities = record.pop("probabilities")
        assert probabilities == pytest.approx(other.pop("probabilities"), abs=1e-4)
        assert record == other
    assert f"UA {100 * metrics['ua']:.2f}" in ran.err


def test_other_parts_and_all_of_them(run_cli: Run, options: list[str], finetuned: Path) -> None:
    for split, clips in (("train", 13), ("valid", 6), ("all", 25)):
        ran = run_cli("score", finetuned / "model", *options, "--split", split, "--out", split)
        assert ran.code == 0, ran.err
        assert read(split)["n"] == clips
        assert read(split)["split"] == split


def test_a_label_map_with_sections_is_for_one_corpus_at_a_time(
    run_cli: Run, finetuned: Path, corpus_rows: Rows, write_rows: Callable[..., Path]
) -> None:
    # "x" is hum in one corpus and tone in the other: one list of lines cannot say both.
    for name, label in (("one", "hum"), ("two", "tone")):
        rows = [{**row, "label": "x"} for row in corpus_rows if row["label"] == label]
        write_rows(rows, f"{name}.csv")
    Path("map.yaml").write_text("one: {x: hum}\ntwo: {x: tone}\n")
    given = [finetuned, "--split=all", "--allow-outside", "--label-map=map.yaml"]
    ran = run_cli("score", *given, "--data", "one.csv", "two.csv")
    assert ran.code == 2
    assert "map.yaml: has sections, each for the labels of one corpus" in ran.err


@pytest.mark.parametrize("has_it", [True, False])
def test_the_backbone_is_computed_in_bf16_where_the_machine_has_it(
    has_it: bool,
    run_cli: Run,
    corpus: Path,
    hubert_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: has_it)
    given = ["--data", corpus, "--features=cache", "--precision=bf16"]
    ran = run_cli("score", hubert_run, *given)
    assert ran.code == 0, ran.err
    (spec,) = (tmp_path / "cache").rglob("spec.json")
    assert read(spec)["precision"] == ("bf16" if has_it else "fp32")
    assert ("does not compute in it" in ran.err) == (not has_it)


def test_nothing_is_written_without_out(run_cli: Run, options: list[str], finetuned: Path) -> None:
    assert run_cli("score", finetuned, *options).code == 0
    assert list(Path(".").iterdir()) == []


@pytest.mark.parametrize("taken", ["score.json", "score.predictions.jsonl"])
def test_nothing_is_overwritten(
    taken: str, run_cli: Run, options: list[str], finetuned: Path
) -> None:
    Path(taken).write_text("mine")
    ran = run_cli("score", finetuned, *options, "--out=score.json")
    assert ran.code == 2
    assert f"{taken} is there already; nothing was overwritten" in ran.err
    assert Path(taken).read_text() == "mine"
    assert [path.name for path in Path(".").iterdir()] == [taken]


def test_the_folder_of_the_scores_is_made_before_anything_is_scored(
    run_cli: Run, options: list[str], finetuned: Path
) -> None:
    ran = run_cli("score", finetuned, *options, "--out=deep/er/score.json")
    assert ran.code == 0, ran.err
    names = ["score.json", "score.predictions.jsonl"]
    assert sorted(path.name for path in Path("deep/er").iterdir()) == names
    Path("file").touch()
    ran = run_cli("score", "./no-model", *options, "--out=file/score.json")
    refused(ran, "--out file/score.json: the folder file cannot be made")


def test_scores_that_cannot_be_written_are_one_message(
    run_cli: Run, options: list[str], finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(score, "write_predictions", refuse)
    ran = run_cli("score", finetuned, *options, "--out=score.json")
    refused(ran, "--out score.json: cannot be written", "No space left", "Make room")


def refused(ran: Any, *needles: str) -> None:
    assert ran.code == 2
    assert "Traceback" not in ran.err
    for needle in needles:
        assert needle in ran.err


def test_mistakes_are_named(
    run_cli: Run,
    options: list[str],
    finetuned: Path,
    write_rows: Callable[..., Path],
    corpus_rows: Rows,
) -> None:
    refused(run_cli("score", "./nowhere", *options), "./nowhere", "no such folder")
    refused(run_cli("score", finetuned, *options, "--split=tset"), "'tset'", "Did you mean 'test'")
    refused(run_cli("score", finetuned, *options, "--label=speaker"), "'s3'", "--label")
    refused(run_cli("score", finetuned, "--data", "none.csv"), "none.csv")
    refused(run_cli("score"), "run")
    unsplit = [{k: v for k, v in row.items() if k != "split"} for row in corpus_rows]
    given = [*options[2:], "--data", write_rows(unsplit), "--allow-outside"]
    ran = run_cli("score", finetuned, *given)
    refused(
        ran,
        "it has no `split` column",
        "`--split all` scores every clip, those that were trained on",
    )
    train = [row for row in corpus_rows if row["split"] == "train"]
    given = [*options[2:], "--data", write_rows(train), "--allow-outside"]
    refused(run_cli("score", finetuned, *given), "its `split` column holds ['train']")


def test_skipped_clips_are_counted_and_listed_beside_the_scores(
    run_cli: Run,
    options: list[str],
    finetuned: Path,
    write_rows: Callable[..., Path],
    corpus_rows: Rows,
) -> None:
    Path("bad.wav").write_bytes(b"no audio")
    Path("bad_audio.jsonl").write_text("of another run")
    bad = {**corpus_rows[-1], "id": "bad", "path": "bad.wav"}
    given = [*options[2:], "--data", write_rows([*corpus_rows, bad]), "--allow-outside"]
    refused(run_cli("score", finetuned, *given, "--out=score.json"), "bad.wav", "--on-bad-audio")
    assert not Path("score.json").exists()
    ran = run_cli("score", finetuned, *given, "--out=score.json", "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    assert (read("score.json")["n"], read("score.json")["left_out"]) == (6, 1)
    assert read("score.bad_audio.jsonl")["id"] == "bad"
    assert Path("bad_audio.jsonl").read_text() == "of another run"
