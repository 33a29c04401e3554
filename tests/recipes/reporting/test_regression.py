# SPDX-License-Identifier: Apache-2.0
"""The page of a run that predicts values."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.report import write_report


@pytest.fixture
def run(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    names, out = ("arousal", "<b>valence"), tmp_path / "run"
    out.mkdir()
    true = random.uniform(1, 7, (40, 2))
    predicted = true + random.standard_normal((40, 2))
    records = [
        {
            "id": f"clip {row}",
            "values": dict(zip(names, true[row].tolist(), strict=True)),
            "predicted": dict(zip(names, predicted[row].tolist(), strict=True)),
            "speaker": None,
            "seconds": 2.0,
        }
        for row in range(40)
    ]
    scores = {"ccc": 0.71, "pearson": 0.75, "mae": 0.8}
    metrics: dict[str, Any] = {
        "task": "regression",
        "dimensions": list(names),
        "n": 40,
        **scores,
        "by_dimension": dict.fromkeys(names, scores),
        "ci95": {"ccc": [0.6, 0.8], "unit": "clip"},
        "protocol": "speaker-disjoint-random",
        "speaker_overlap": False,
        "notes": ["valid was cut from train"],
        "adapter": "none",
        "best_epoch": 2,
        "parameters_trained": 1234,
        "seconds": 12.0,
        "config": dataclasses.asdict(FinetuneOptions()),
        "versions": {},
    }
    history = [
        {"epoch": float(epoch), "train_loss": 1 - 0.1 * epoch, "valid_loss": 1.0, "valid_ccc": 0.5}
        for epoch in range(3)
    ]
    (out / "metrics.json").write_text(json.dumps(metrics))
    (out / "history.json").write_text(json.dumps(history))
    (out / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    return out


def test_scatters_instead_of_confusion(run: Path) -> None:
    page = write_report(run).read_text()
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == ["scatter", "training", "mistakes", "settings"]
    (scatter,) = re.findall(r'<section id="scatter">.*?</section>', page, flags=re.DOTALL)
    assert scatter.count("<circle") == 80
    assert "0.710" in page
    assert "0.600 to 0.800" in page
    assert "<b>valence" not in page.replace("<figcaption><b>", "")
    assert "&lt;b&gt;valence" in page


def test_a_dot_stands_where_its_values_say(run: Path) -> None:
    page = write_report(run).read_text()
    first = json.loads((run / "predictions.jsonl").read_text().splitlines()[0])
    true, predicted = first["values"]["arousal"], first["predicted"]["arousal"]
    places = {}
    for x, y, told in re.findall(
        r'cx="([\d.]+)" cy="([\d.]+)" r="3.5"><title>([^<]+)</title>', page
    ):
        places.setdefault(told, (float(x), float(y)))
    (x, y) = places[f"clip 0: {true:.3g}, predicted {predicted:.3g}"]
    lowest = min(places.values(), key=lambda place: place[1] * -1)
    assert 52 <= x <= 430
    assert 10 <= y <= 388
    assert lowest[1] <= 388
    # On the diagonal, what stands right of the middle stands above it as much.
    line = re.search(r'class="even" x1="52" x2="430" y1="388" y2="10"', page)
    assert line is not None
    error = (388 - y) / 378 - (x - 52) / 378
    assert np.sign(error) == np.sign(predicted - true)


def test_largest_errors_come_first(run: Path) -> None:
    page = write_report(run).read_text()
    (section,) = re.findall(r'<section id="mistakes">.*?</section>', page, flags=re.DOTALL)
    errors = [float(told) for told in re.findall(r'faint">([\d.]+)</td></tr>', section)]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 20


def test_several_runs_have_bars_and_one_scatter_of_all(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    runs = []
    for seed, ccc in ((0, 0.5), (1, -0.2)):  # below 0 there is no bar
        folder = run / f"seed-{seed}"
        folder.mkdir()
        for name in ("metrics.json", "history.json", "predictions.jsonl"):
            (folder / name).write_text((run / name).read_text())
        runs.append(
            {"folder": f"seed-{seed}", "fold": None, "seed": seed, "ccc": ccc, "best_epoch": 2}
        )
    by_fold = [
        {"fold": fold, "ccc": {"mean": mean, "std": 0.0456}}
        for fold, mean in (("1", 0.1234), ("2", 0.2345))
    ]
    joined = {**metrics, "runs": runs, "n": 80, "std": {"ccc": 0.494}, "by_fold": by_fold}
    (run / "metrics.json").write_text(json.dumps(joined))
    page = write_report(run).read_text()
    assert "80 predictions of test clips, 2 dimensions" in page
    assert "± 0.494" in page
    widths = re.findall(r'class="blue" width="([\d.]+)%"', page)
    assert widths == ["12.34", "23.45", "50.00", "0.00"]
    assert "0.123 ± 0.046" in page  # as all concordances are written, and not in per cent
    (scatter,) = re.findall(r'<section id="scatter">.*?</section>', page, flags=re.DOTALL)
    assert scatter.count("<circle") == 160
