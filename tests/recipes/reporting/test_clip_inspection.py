# SPDX-License-Identifier: Apache-2.0
"""Which test clips a report shows, and what a run keeps of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from voxadapt import SpeechClassifier
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.reporting.clip_inspection import choose_clips

Run = Callable[..., Any]


def record(label: str, **probabilities: float) -> dict[str, Any]:
    predicted = max(probabilities, key=lambda name: probabilities[name])
    return {"label": label, "predicted": predicted, "probabilities": probabilities}


RECORDS = [
    record("a", a=0.9, b=0.1),
    record("a", a=0.8, b=0.2),
    record("b", a=0.3, b=0.7),
    record("b", a=0.95, b=0.05),
    record("b", a=0.6, b=0.4),
    record("a", a=0.52, b=0.48),
    record("a", a=0.99, b=0.01),
]


def test_a_third_of_each_kind_and_classes_in_turn() -> None:
    assert choose_clips(RECORDS, 6) == [
        ("best", 6),
        ("best", 2),
        ("worst", 3),
        ("worst", 4),
        ("confused", 5),
        ("confused", 1),
    ]
    assert choose_clips(RECORDS, 0) == []
    assert sorted(row for _, row in choose_clips(RECORDS, 99)) == list(range(7))


def test_where_nothing_is_wrong_others_fill_up() -> None:
    kinds = [kind for kind, _ in choose_clips([RECORDS[row] for row in (0, 1, 2, 5, 6)], 4)]
    assert kinds == ["best", "best", "confused", "confused"]


def test_one_class_only() -> None:
    records = [record("a", a=1.0), record("a", a=1.0)]
    assert sorted(row for _, row in choose_clips(records, 4)) == [0, 1]


def test_of_values_by_error() -> None:
    records = [
        {"values": {"x": float(row)}, "predicted": {"x": row + error}}
        for row, error in enumerate([0.1, 3.0, 0.0, 0.5, -1.0])
    ]
    assert choose_clips(records, 3) == [("best", 2), ("worst", 1), ("typical", 3)]


def test_what_a_run_keeps(finetuned: Path, corpus: Path) -> None:
    found = json.loads((finetuned / "inspection.json").read_text())
    lines = (finetuned / "predictions.jsonl").read_text().splitlines()
    tested = [json.loads(line)["id"] for line in lines]
    assert [point["id"] for point in found["map"]["points"]] == tested
    assert found["map"]["clips"] == len(tested) == 6
    assert sorted(clip["id"] for clip in found["clips"]) == sorted(tested)
    manifest = read_manifest(corpus, label="label", allow_outside=True).clips
    clips = {clip.id: clip for clip in manifest}
    model = SpeechClassifier.from_pretrained(finetuned)
    for clip in found["clips"]:
        heard, rate = soundfile.read(finetuned / clip["sound"])
        original, _ = soundfile.read(clips[clip["id"]].path)
        assert rate == 16_000
        np.testing.assert_allclose(heard, original, atol=1e-4)
        assert clip["speaker"] == "s3"
        weights = np.array(clip["weights"])
        np.testing.assert_allclose(weights.mean(axis=1), 1.0, atol=0.01)
        waveform = torch.tensor(original, dtype=torch.float32)[None]
        with torch.inference_mode():
            mask = torch.zeros_like(waveform, dtype=torch.bool)
            own = model.frame_classifier.with_weights(*model.backbone(waveform, mask))[2][0]
        np.testing.assert_allclose(weights, own * own.shape[-1], atol=0.02)
        assert clip["seconds"] == pytest.approx(own.shape[-1] / 50, abs=1e-3)


def test_nothing_is_kept_where_nothing_is_wanted(run_cli: Run, finetune_options: list[str]) -> None:
    options = [*finetune_options, "--epochs=1", "--adapter=none"]
    assert run_cli("finetune", *options, "--report-clips=0", "--out=map").code == 0
    assert json.loads(Path("map/inspection.json").read_text())["clips"] == []
    assert not Path("map/clips").exists()
    arguments = ["--report-clips=0", "--no-report-map", "--out=none"]
    assert run_cli("finetune", *options, *arguments).code == 0
    assert not Path("none/inspection.json").exists()
    page = Path("none/report.html").read_text()
    assert 'id="embeddings"' not in page
    assert 'id="clips"' not in page


def test_a_report_outlives_its_corpus_and_tells_a_lost_recording(
    run_cli: Run, finetuned: Path
) -> None:
    shutil.copytree(finetuned, "run")
    found = json.loads(Path("run/inspection.json").read_text())
    Path("run", found["clips"][0]["sound"]).unlink()
    ran = run_cli("report", "run")
    assert ran.code == 0, ran.err
    page = Path("run/report.html").read_text()
    assert page.count("<audio") == 5
    assert "The recording is missing" in page
