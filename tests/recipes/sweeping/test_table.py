# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.sweeping.options import Cell
from voxadapt.recipes.sweeping.table import as_csv, as_json, as_text, chosen_result, read_cell

Write = Callable[..., Cell]


@pytest.fixture
def write_cell(tmp_path: Path) -> Write:
    """Write the metrics of a layer with a pooler."""

    def write(layer: int | str, pool: str, ua: float, valid: float, **more: Any) -> Cell:
        cell = Cell(layer, pool, tmp_path / f"{layer}-{pool}")
        cell.folder.mkdir()
        ends = {"fold": None, "seed": 0, "valid": {"ua": valid}, "ci95": {"ua": [ua - 0.1, ua]}}
        scores = {"ua": ua, "wa": ua, "macro_f1": ua}
        (cell.folder / "metrics.json").write_text(json.dumps({**scores, **ends, **more}))
        return cell

    return write


def test_validation_chooses_and_not_the_test_score(write_cell: Write, tmp_path: Path) -> None:
    cells = [
        write_cell(0, "sap", ua=0.9, valid=0.5),
        write_cell(1, "sap", ua=0.6, valid=0.7),
        write_cell(2, "sap", ua=0.8, valid=0.7),  # alike on validation: the lower layer is cheaper
    ]
    results = [read_cell(cell) for cell in cells]
    chosen = chosen_result(results)
    assert chosen.cell.layer == 1
    summary = as_json(results, tmp_path)
    assert summary["chosen_on_validation"] == {"layer": 1, "pool": "sap"}
    assert summary["cells"][0]["ci95"] == [pytest.approx(0.8), 0.9]
    lines = as_text(results).splitlines()
    assert lines[2].split() == ["layer", "1", "60.0", "*"]
    assert [line.endswith("*") for line in lines[1:4]] == [False, True, False]


def test_a_table_has_a_line_for_each_run_and_a_gap_for_what_is_not_finished(
    write_cell: Write, tmp_path: Path
) -> None:
    runs = [
        {"fold": "1", "seed": seed, "ua": ua, "wa": ua, "macro_f1": ua, "valid_ua": ua - 0.1}
        for seed, ua in ((0, 0.5), (1, 0.75))
    ]
    cells = [
        write_cell(3, "sap", 0.625, 0.0, runs=runs, std={"ua": 0.177}),
        write_cell(3, "qkv", 0.6, 0.5),
        write_cell("weighted", "sap", 0.5, 0.4),
    ]
    results = [read_cell(cell) for cell in cells]
    assert results[0].valid == pytest.approx(0.525)
    rows = as_csv(results).splitlines()
    assert rows[0] == "layer,pool,fold,seed,ua,wa,macro_f1,valid_ua"
    assert rows[1] == "3,sap,1,0,0.5,0.5,0.5,0.4"
    assert len(rows) == 5
    table = as_text(results).splitlines()
    assert table[0].split() == ["UA,", "%", "sap", "qkv"]
    assert table[1].split() == ["layer", "3", "62.5", "±", "17.7", "*", "60.0", "±", "0.0"]
    assert table[2].split() == ["weighted", "50.0", "±", "0.0", "–"]
    assert read_cell(Cell(9, "sap", tmp_path / "nowhere")) is None
