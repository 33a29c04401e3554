# SPDX-License-Identifier: Apache-2.0
"""The benchmark of corpus sizes, and, in the slow tier, the bound on memory that it is about."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.backbones import load_backbone
from voxadapt.recipes.corpora import feature_cache
from voxadapt.recipes.corpora.feature_cache import extract_features
from voxadapt.recipes.corpora.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def corpus_size(load_benchmark: Callable[..., Any]) -> Any:
    return load_benchmark("corpus_size").main


def test_every_clip_is_in_the_cache(
    corpus_size: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_size, "FILES", 3)
    monkeypatch.setattr(corpus_size, "CLIPS_A_SHARD", 4)
    corpus_size.make_corpus(tmp_path, 10, seed=0)
    monkeypatch.setattr(feature_cache, "extract_shards", None)  # nothing is left to extract
    clips = read_manifest(tmp_path / "corpus.csv").clips
    assert len({clip.path for clip in clips}) == 3
    store, kept, bad = extract_features(
        clips, load_backbone("fbank"), tmp_path / "features", progress=False
    )
    assert (kept, bad) == (list(range(10)), [])
    assert set(store.lengths) == {corpus_size.FRAMES}
    different = {store.frames(index).tobytes() for index in range(10)}
    assert len(different) == 4
    assert np.isfinite(store.frames(9)).all()


def test_table_and_json(
    corpus_size: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measure(folder: Path, number: int, options: Any) -> dict[str, float]:
        clips = len((folder / "clips").read_text())
        megabytes = 500.0 + 100 * clips
        times = {"imported": 3.0, "ready": 5.0 * clips + number, "stepped": 9.0 * clips + number}
        return {**times, "ready_megabytes": 400.0, "megabytes": megabytes}

    def make_corpus(folder: Path, clips: int, seed: int) -> None:
        (folder / "clips").write_text("x" * clips)

    monkeypatch.setattr(corpus_size, "measure", measure)
    monkeypatch.setattr(corpus_size, "make_corpus", make_corpus)
    out = tmp_path / "sub" / "results.json"
    corpus_size.main(["--clips", "1", "5", "--threads", "1", "--out", str(out)])
    assert [row["ready"] for row in json.loads(out.read_text())["rows"]] == [5.0, 25.0]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| 1 | 3.0 s | 5.0 s (met) | 9.0 s | 400 MB | 600 MB | +0 MB (met) |",
        "| 5 | 3.0 s | 25.0 s (missed) | 45.0 s | 400 MB | 1000 MB | +400 MB (missed) |",
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_stays_flat_in_corpus_size(corpus_size: Any, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    corpus_size.main(
        ["--clips", "2000", "200000", "--repeats", "1", "--threads", "1", "--out", str(out)]
    )
    small, large = (row["megabytes"] for row in json.loads(out.read_text())["rows"])
    assert large - small < corpus_size.MEGABYTES_TARGET
