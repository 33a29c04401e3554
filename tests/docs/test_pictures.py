# SPDX-License-Identifier: Apache-2.0
"""The pictures are what their script draws of what was measured, and the script still runs."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import docs_pages as pages
import docs_world as world
import pytest

PICTURES = pages.ROOT / "docs" / "pictures"
SCRIPT = PICTURES / "pretraining_health.py"
MEASURED = json.loads((PICTURES / "pretraining_health.json").read_text(encoding="utf-8"))
PAGE = (pages.ROOT / "docs" / "pretraining_health.md").read_text(encoding="utf-8")


def draw(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], check=True, capture_output=True
    )


def test_pictures_are_drawn_from_what_was_measured(tmp_path: Path) -> None:
    draw("--out", tmp_path)
    drawn = sorted(tmp_path.glob("*.svg"))
    assert drawn
    for path in drawn:
        assert path.read_bytes() == (PICTURES / path.name).read_bytes(), path.name
        assert f"pictures/{path.name}" in PAGE
        ET.parse(path)


def test_the_page_tells_what_was_measured() -> None:
    rows = {"no adapter": "frames alone", "random weights": "random", "codebook death": "codebook"}
    for name in (
        "healthy",
        "leakage",
        "no adapter",
        "random weights",
        "codebook death",
        "collapse",
    ):
        found = re.search(rf"^\| {name} \| ([\d.]+) ± ([\d.]+) \|(.*)\|$", PAGE, flags=re.MULTILINE)
        assert found, name
        score = MEASURED["probe"][rows.get(name, name)]
        assert found[1] == f"{100 * score['mean']:.1f}"
        assert found[2] == f"{100 * score['std']:.1f}"


def test_the_ill_runs_are_ill() -> None:
    curves = MEASURED["curves"]
    assert curves["collapse"]["prototype_perplexity"][-1] < 2 < 50
    assert curves["healthy"]["prototype_perplexity"][-1] > 50
    assert curves["codebook"]["attribute_perplexity"][-1] < 25
    assert curves["codebook"]["local_attributes"][-1] < curves["healthy"]["local_attributes"][-1]
    assert curves["leakage"]["reconstruction"][-1] < 0.5 * curves["healthy"]["reconstruction"][-1]
    scores = {name: found["mean"] for name, found in MEASURED["probe"].items()}
    assert max(scores, key=lambda name: scores[name]) == "healthy"


def test_the_table_of_gains_is_what_was_measured() -> None:
    """And what is drawn: the picture's script reads the same rows."""
    rows = json.loads((PICTURES / "adapter_gain.json").read_text(encoding="utf-8"))["rows"]
    page = (pages.ROOT / "docs" / "adapter_gain.md").read_text(encoding="utf-8")
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if " ± " in line]
    full = [row for row in rows if row["variant"] == "full"]
    assert len(full) == 36
    for row in full:
        ua, valid = (
            f"{100 * row[name]['mean']:.1f} ± {100 * row[name]['std']:.1f}"
            for name in ("ua", "valid_ua")
        )
        told = {row["adapter"], valid, ua}
        if row["gain"] is not None:
            told |= {points(row["gain"]), points(row["valid_gain"])}
            told.add(f"{row['gain']['better']} of {row['gain']['pairs']}")
        assert any(told <= set(line) for line in table), row
        assert ua in readme


def points(gain: dict[str, float]) -> str:
    return f"{100 * gain['mean']:+.1f} ± {100 * gain['standard_error']:.1f}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_script_runs_and_draws(tmp_path: Path) -> None:
    world.write_corpus(tmp_path, "corpus")
    out = tmp_path / "out"
    out.mkdir()
    small = ["--epochs=1", "--batch-seconds=4", "--log-steps=1", "--adapter.width=16"]
    small += ["--adapter.feedforward=16", "--objectives.attributes=8", "--objectives.prototypes=8"]
    extra = f"--extra={' '.join(small)}"
    draw(tmp_path / "corpus.csv", "--runs", tmp_path / "runs", "--out", out, extra)
    drawn = {path.name for path in out.glob("*.svg")}
    others = {"data_way.svg", "adapter_gain.svg", "adapter_gain_ablations.svg"}
    assert drawn == {path.name for path in PICTURES.glob("*.svg")} - others
    assert json.loads((out / "pretraining_health.json").read_text(encoding="utf-8"))["probe"]
