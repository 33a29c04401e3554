# SPDX-License-Identifier: Apache-2.0
"""The benchmark of audio in files, shards and tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.clip_keys import clip_keys
from voxadapt.recipes.corpora.manifest import read_manifest

pytest.importorskip("datasets")
pytest.importorskip("webdataset")


@pytest.fixture
def containers(load_benchmark: Callable[..., Any]) -> Any:
    return load_benchmark("containers").main


def test_every_kind_holds_the_same_audio(
    containers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "SHARD_CLIPS", 3)
    sources = containers.make_corpora(tmp_path, 7, seed=0)
    keys = {kind: clip_keys(read_manifest(source).clips) for kind, source in sources.items()}
    assert keys["files"] == keys["wds"] == keys["hf"]
    assert len(set(keys["files"])) == 7
    found = containers.run_child(tmp_path, "--child", sources["wds"], 0)
    assert found["clips"] == 7
    assert 0 < found["start_megabytes"] <= found["megabytes"]


def test_table_and_json(
    containers: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    starts = iter([1.0, 0.75, 0.5] * 3)

    def run_child(folder: Path, do: str, what: str, seed: int) -> dict[str, Any]:
        if do == "--make":
            return dict.fromkeys(containers.KINDS, "corpus")
        assert (do, what) == ("--child", "corpus")
        times = {"start": next(starts), "keys": 0.25, "in_order": 2.0, "at_random": 4.0}
        return {**times, "clips": 1_000, "start_megabytes": 300.0, "megabytes": 400.0}

    monkeypatch.setattr(containers, "run_child", run_child)
    containers.main(
        ["--clips", "1000", "--repeats", "2", "--out", str(tmp_path / "sub" / "results.json")]
    )
    rows = json.loads((tmp_path / "sub" / "results.json").read_text())["rows"]
    assert [row["kind"] for row in rows] == ["files", "wds", "hf"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[3] == (
        "| tar shards | 1.00 s | 0.50 s | 0.25 s | 500 clips/s | 250 clips/s | 300 MB | 400 MB |"
    )
