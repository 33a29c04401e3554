# SPDX-License-Identifier: Apache-2.0
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def benchmark(load_benchmark: Callable[..., Any]) -> Any:
    return load_benchmark("check_data").main


@pytest.fixture
def corpora(tmp_path: Path, zoo: Any) -> Path:
    for name in ("one", "two"):
        folder = tmp_path / "corpora" / name
        folder.mkdir(parents=True)
        (folder / "a.wav").write_bytes(zoo.wave_bytes(zoo.tone(16_000)))
        rows = ["path,label,speaker,seconds", "a.wav,x,s1,0.5"]
        (folder / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "corpora"


def test_one_manifest_over_all_corpora(benchmark: Any, corpora: Path, tmp_path: Path) -> None:
    benchmark.join_corpora(corpora, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["one a.wav", "two a.wav"]
    assert [row["speaker"] for row in rows] == ["one s1", "two s1"]
    assert all(Path(row["path"]).is_file() for row in rows)
    with pytest.raises(FileNotFoundError, match=r"holds no NAME/NAME\.csv"):
        benchmark.join_corpora(tmp_path, tmp_path / "none.csv")


def test_table_and_json(
    benchmark: Any,
    corpora: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([9.0, 4.0, 5.0, 30.0, 20.0, 22.0])
    monkeypatch.setattr(
        benchmark,
        "measure",
        lambda manifest, jobs: {"seconds": next(times), "audio": 3600.0, "clips": 1_000},
    )
    out = tmp_path / "sub" / "out.json"
    benchmark.main(["--corpora", str(corpora), "--jobs", "2", "1", "--out", str(out)])
    assert [row["seconds"] for row in json.loads(out.read_text())["rows"]] == [5.0, 22.0]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| 2 | 1,000 | 1.00 h | 5.0 s | 720 (met) |",
        "| 1 | 1,000 | 1.00 h | 22.0 s | 164 (missed) |",
    ]


@pytest.mark.slow
def test_the_command_is_run_for_real(benchmark: Any, corpora: Path, tmp_path: Path) -> None:
    benchmark.join_corpora(corpora, tmp_path / "all.csv")
    found = benchmark.measure(tmp_path / "all.csv", 1)
    assert found["audio"] == pytest.approx(1, abs=0.01)
    assert found["clips"] == 2
    assert found["seconds"] > 0
