# SPDX-License-Identifier: Apache-2.0
"""Recipes on a dataset of the `datasets` library: audio in a table instead of files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..corpora.hf_corpora import save_splits

pytest.importorskip("datasets")

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def source(corpus_rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{save_splits(corpus_rows, tmp_path_factory.mktemp('hf') / 'saved')}"


def without_data(options: list[str]) -> list[str]:
    """Options of a recipe but those that say where the corpus is."""
    place = options.index("--data")
    return options[:place] + options[place + 2 :]


def shards(features: Path) -> list[Path]:
    return sorted(features.glob("*/*.npy"))


def test_frames_are_those_of_the_files(
    source: str, corpus: Path, run_cli: Run, tmp_path: Path
) -> None:
    # Folders of its own: how clips are packed into files depends on what was there before.
    files, rows = tmp_path / "files", tmp_path / "rows"
    assert run_cli("extract_features", "--data", corpus, "--features", files).code == 0
    before = shards(files)
    ran = run_cli("extract_features", "--data", source, "--features", files)
    assert ran.code == 0, ran.err
    assert shards(files) == before  # all were found in the cache, by their content
    ran = run_cli("extract_features", "--data", source, "--features", rows)
    assert ran.code == 0, ran.err
    assert [path.name for path in shards(rows)] == [path.name for path in before]
    assert [path.read_bytes() for path in shards(rows)] == [path.read_bytes() for path in before]


def test_finetune_and_score(
    source: str, finetune_options: list[str], run_cli: Run, tmp_path: Path
) -> None:
    options = [*without_data(finetune_options), "--adapter=none", "--data", source]
    ran = run_cli("finetune", *options, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["n"], metrics["protocol"]) == (6, "split-column")
    features = options[options.index("--features") + 1]
    again = ["--data", f"{source}:test", "--features", features, "--out", tmp_path / "score.json"]
    ran = run_cli("score", tmp_path / "run", *again)
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "score.json").read_text())["ua"] == metrics["ua"]


@pytest.mark.parametrize("frames", ["cached", "online"])
def test_pretrain(
    source: str, pretrain_options: list[str], run_cli: Run, tmp_path: Path, frames: str
) -> None:
    options = [*without_data(pretrain_options), "--max-steps=2", "--data", source]
    if frames == "online":
        place = options.index("--features")
        options = [*options[:place], *options[place + 2 :], "--features", "online"]
    ran = run_cli("pretrain_adapter", *options, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert "pretraining on 25 clips" in ran.err


def test_bad_audio_is_named(source: str, corpus_rows: list[dict[str, str]], run_cli: Run) -> None:
    import datasets

    broken = datasets.load_from_disk(f"{source.removeprefix('hf:')}/test").select(range(2))
    cells = [{"bytes": b"RIFF" + bytes(60), "path": "bad.wav"}, broken[1]["audio"]]
    broken = broken.remove_columns("audio").add_column("audio", cells)
    broken.save_to_disk("broken")
    ran = run_cli("extract_features", "--data", "hf:broken", "--features", "features")
    assert ran.code == 2
    assert "1 unreadable" in ran.err
    assert "hf:broken all[0] (bad.wav)" in ran.err or "hf:broken test[0] (bad.wav)" in ran.err
    skip = ["--on-bad-audio", "skip"]
    assert run_cli("extract_features", "--data", "hf:broken", "--features", "f", *skip).code == 0


def test_errors_are_one_message(source: str, run_cli: Run) -> None:
    ran = run_cli("extract_features", "--data", f"{source}:nope")
    assert ran.code == 2
    assert "has no split 'nope'" in ran.err
    assert "Traceback" not in ran.err
