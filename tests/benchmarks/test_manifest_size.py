# SPDX-License-Identifier: Apache-2.0
"""The benchmark of manifest sizes, and, in the slow tier, the bound on memory that it is about."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.manifest import read_manifest


@pytest.fixture
def manifest_size(load_benchmark: Callable[..., Any]) -> Any:
    return load_benchmark("manifest_size").main


def test_both_manifests_list_the_same_clips(
    manifest_size: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_size, "FILES_A_FOLDER", 3)
    by_csv, by_json = (read_manifest(path) for path in manifest_size.make_corpus(tmp_path, 10))
    assert by_csv.clips == by_json.clips
    assert len({clip.path for clip in by_csv.clips}) == 10
    assert (len(by_csv.speakers), by_csv.splits) == (4, ["train", "valid", "test"])
    assert by_csv.clips[7].columns["text"] == "what is said in clip 7, word by word"


def test_a_process_reads_and_measures(manifest_size: Any, tmp_path: Path) -> None:
    by_csv, _ = manifest_size.make_corpus(tmp_path, 20)
    found = manifest_size.measure(by_csv)
    assert found["clips"] == 20
    assert found["seconds"] > 0
    assert found["processor_seconds"] > 0
    assert 5 < found["megabytes"] < 1_000


def test_table_and_json(
    manifest_size: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = {".csv": [30.0, 10.0, 8.0], ".jsonl": [21.0, 25.0, 9.0]}
    memory = {".csv": [900.0, 1000.0, 950.0], ".jsonl": [1_600.0, 1_000.0, 1_000.0]}

    def measure(path: Path) -> dict[str, float]:
        megabytes = memory[path.suffix].pop(0)
        seconds = times[path.suffix].pop(0)
        spent = {"seconds": seconds, "processor_seconds": seconds / 2}
        return {"clips": 7, **spent, "megabytes": megabytes}

    monkeypatch.setattr(manifest_size, "measure", measure)
    out = tmp_path / "sub" / "results.json"
    manifest_size.main(["--rows", "7", "--out", str(out)])
    assert [row["seconds"] for row in json.loads(out.read_text())["rows"]] == [10.0, 21.0]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| csv | 7 | 0 MB | 10.0 s (met) | 5.0 s | 1000 MB (met) |",
        "| jsonl | 7 | 0 MB | 21.0 s (missed) | 10.5 s | 1600 MB (missed) |",
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_of_a_million_rows(manifest_size: Any, tmp_path: Path) -> None:
    for manifest in manifest_size.make_corpus(tmp_path, 1_000_000):
        found = manifest_size.measure(manifest)
        assert found["clips"] == 1_000_000
        assert found["megabytes"] < manifest_size.MEGABYTES_TARGET
