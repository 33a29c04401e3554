# SPDX-License-Identifier: Apache-2.0
"""The clips of the run that made a model, read again in its own parts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.exporting.run_clips import clips_of_run
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.run_folder import read_record

Run = Callable[..., Any]
ONE_EPOCH = ("--adapter=none", "--epochs=1", "--report-clips=0", "--allow-outside")


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def config(run: str) -> dict[str, Any]:
    record = read_record(Path(run))
    assert record is not None
    return dict(record["config"])


@pytest.fixture
def manifest(corpus_rows: list[dict[str, str]], write_rows: Callable[..., Path]) -> Path:
    """A manifest whose labels stand in a column of another name, with folds and without splits."""
    kept = ("id", "path", "speaker", "fold")
    rows = [{**{name: row[name] for name in kept}, "sound": row["label"]} for row in corpus_rows]
    return write_rows(rows)


def test_parts_that_the_run_has_drawn(
    run_cli: Run, finetune_options: list[str], manifest: Path
) -> None:
    options = [*finetune_options, *ONE_EPOCH, "--label=sound", "--data", manifest]
    ran = run_cli("finetune", *options, "--out=run")
    assert ran.code == 0, ran.err
    parts, label = read("run/splits.json"), {}
    for part in ("train", "valid", "test"):
        clips = clips_of_run(Path("run"), config("run"), part)
        assert [clip.id for clip in clips] == parts[part] != []
        label |= {clip.id: clip.label for clip in clips}
    assert all(name.startswith(str(sound)) for name, sound in label.items())
    assert len(clips_of_run(Path("run"), config("run"), "all")) == len(label) == 25

    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = parts["test"][0]
    manifest.write_text("".join(line for line in lines if not line.startswith(gone + ",")))
    with pytest.raises(UsageError, match=rf"1 of \d+ clips of run \(test\) are not in .*'{gone}'"):
        clips_of_run(Path("run"), config("run"), "test")
    assert clips_of_run(Path("run"), config("run"), "train")


def test_of_folds_the_parts_are_those_of_the_model_that_is_kept(
    run_cli: Run, finetune_options: list[str], manifest: Path
) -> None:
    options = [*finetune_options, *ONE_EPOCH, "--label=sound", "--data", manifest, "--fold=all"]
    ran = run_cli("finetune", *options, "--out=run")
    assert ran.code == 0, ran.err
    kept = Path("run/model/model.safetensors").read_bytes()
    (best,) = [
        entry["folder"]
        for entry in read("run/metrics.json")["runs"]
        if Path("run", entry["folder"], "model/model.safetensors").read_bytes() == kept
    ]
    clips = clips_of_run(Path("run"), config("run"), "test")
    assert [clip.id for clip in clips] == read(f"run/{best}/splits.json")["test"]


def test_a_run_without_its_parts_is_read_by_the_split_column(
    run_cli: Run, finetune_options: list[str]
) -> None:
    ran = run_cli("finetune", *finetune_options, *ONE_EPOCH, "--out=run")
    assert ran.code == 0, ran.err
    parts = read("run/splits.json")
    Path("run/splits.json").unlink()
    clips = clips_of_run(Path("run"), config("run"), "test")
    assert [clip.id for clip in clips] == parts["test"]
