# SPDX-License-Identifier: Apache-2.0
"""The page of several folds and seeds."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.report import write_report
from voxadapt.recipes.running.command_line import UsageError

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def joined(finetune_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds with two seeds."""
    from voxadapt.recipes import finetune

    out = tmp_path_factory.mktemp("joined") / "run"
    options = [*finetune_options, "--epochs=1", "--adapter=none", "--fold=all", "--seeds=2"]
    finetune.main([*options, "--report-clips=0", "--no-report-map", "--out", str(out)])
    return out


def test_each_run_has_a_bar_and_a_link(joined: Path) -> None:
    metrics = json.loads((joined / "metrics.json").read_text())
    page = (joined / "report.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert links == [f"{run['folder']}/report.html" for run in metrics["runs"]]
    assert len(links) == 4
    assert all((joined / link).exists() for link in links)
    (runs,) = re.findall(r'<section id="runs">.*?</section>', page, flags=re.DOTALL)
    widths = re.findall(r'class="blue" width="([\d.]+)%"', runs)
    folds = [fold["ua"]["mean"] for fold in metrics["by_fold"]]
    expected = [*folds, *(run["ua"] for run in metrics["runs"])]
    assert [float(width) for width in widths] == pytest.approx(
        [100 * ua for ua in expected], abs=0.01
    )
    assert "2 folds × 2 seeds" in page
    assert f"± {100 * metrics['std']['ua']:.1f}" in page
    assert f"{metrics['n']} predictions of test clips" in page


def test_it_needs_the_history_of_each_run(joined: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(joined, copy)
    folder = json.loads((copy / "metrics.json").read_text())["runs"][2]["folder"]
    (copy / folder / "history.json").unlink()
    with pytest.raises(UsageError, match=re.escape(str(copy / folder / "history.json"))):
        write_report(copy)


def test_a_run_without_a_page_has_no_link(joined: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(joined, copy)
    folder = json.loads((copy / "metrics.json").read_text())["runs"][0]["folder"]
    (copy / folder / "report.html").unlink()
    page = write_report(copy).read_text()
    assert page.count("href=") == 3
