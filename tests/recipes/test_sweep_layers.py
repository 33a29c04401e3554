# SPDX-License-Identifier: Apache-2.0
"""``sweep_layers`` from the command line, on tiny random encoders."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes import sweep_layers
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.sweeping import pool as sweep_pool
from voxadapt.recipes.sweeping.options import Cell, SweepOptions, finetune_options, plan_cells
from voxadapt.recipes.sweeping.pool import task_of
from voxadapt.recipes.sweeping.worker import run_task

Run = Callable[..., Any]


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def rows_of(path: Path | str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper with 2 layers and windows of a second."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whisper")
    small = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "vocab_size": 20}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    widths = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_mel_bins": 80}
    ends = dict.fromkeys(
        ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0
    )
    lengths = {"max_source_positions": 50, "max_target_positions": 8}
    config = WhisperConfig(**small, **heads, **widths, **ends, **lengths)
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture
def sweep(corpus: Path, features: Path, hubert_folder: Path) -> list[Any]:
    """Options of a sweep over 2 of 3 layers of the tiny HuBERT and 2 poolers."""
    data = ["--data", corpus, "--features", features, "--backbone", hubert_folder]
    return [
        *data,
        "--epochs=2",
        "--batch-seconds=3",
        "--layers",
        "0",
        "2",
        "--pools",
        "mean",
        "sap",
    ]


class WorkerHere:
    """As `Worker`, in this process: one of its own takes seconds to start."""

    def __init__(self, log: Path, surroundings: dict[str, str]) -> None:
        assert surroundings["OMP_NUM_THREADS"] == "1"

    def run(self, cell: Cell, options: SweepOptions) -> str:
        return run_task(json.loads(task_of(cell, options)))

    def close(self) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_pool, "Worker", WorkerHere)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["whisper", "hubert"])
def test_every_layer_with_every_pooler(
    encoder: str, run_cli: Run, sweep: list[Any], hubert_folder: Path, whisper_folder: Path
) -> None:
    folder = {"hubert": hubert_folder, "whisper": whisper_folder}[encoder]
    options = [*sweep, "--backbone", folder, "--layers", "0", "1", "2", "--seeds=2", "--weighted"]
    ran = run_cli("sweep_layers", *options, "--jobs=2", "--out=sweep")
    assert ran.code == 0, ran.err
    summary = read("sweep/sweep.json")
    found = {(cell["layer"], cell["pool"]) for cell in summary["cells"]}
    assert found == {(layer, pool) for layer in (0, 1, 2, "weighted") for pool in ("mean", "sap")}
    rows = rows_of("sweep/sweep.csv")
    assert len(rows) == 4 * 2 * 2
    for cell in summary["cells"]:
        metrics = read(Path("sweep", cell["folder"], "metrics.json"))
        assert cell["mean"] == metrics["ua"]
        assert cell["std"] == metrics["std"]["ua"]
        assert metrics["config"]["layer"] == cell["layer"]
        assert metrics["config"]["pool"] == cell["pool"]
        ua = [
            float(row["ua"])
            for row in rows
            if (row["layer"], row["pool"]) == (str(cell["layer"]), cell["pool"])
        ]
        assert ua == [run["ua"] for run in metrics["runs"]]
        assert len(metrics["runs"]) == 2
        assert ("layer_weights" in cell) == (cell["layer"] == "weighted")
    chosen = summary["chosen_on_validation"]
    best = max(cell["valid"] for cell in summary["cells"])
    (cell,) = [c for c in summary["cells"] if (c["layer"], c["pool"]) == tuple(chosen.values())]
    assert cell["valid"] == best
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["UA,", "%", "mean", "sap"]
    assert [line[0] for line in lines[1:5]] == ["layer", "layer", "layer", "weighted"]
    assert not list(Path("sweep").glob("**/model"))
    assert not list(Path("sweep").glob("**/checkpoint.pt"))
    page = Path("sweep/report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") >= 4  # two poolers, on test and on validation
    for link in re.findall(r'href="([^"]+)"', page):
        if link.endswith("report.html"):
            assert Path("sweep", link).exists(), link


@pytest.mark.usefixtures("here")
def test_a_run_of_a_sweep_is_what_finetune_gives(
    run_cli: Run, sweep: list[Any], tmp_path: Path, hubert_folder: Path, corpus: Path
) -> None:
    ran = run_cli("sweep_layers", *sweep, "--out=sweep", "--layers", "2", "--pools", "sap")
    assert ran.code == 0, ran.err
    # With a cache of its own: nothing of the sweep is used.
    own = ["--data", corpus, "--backbone", hubert_folder, "--features", tmp_path / "own"]
    own += ["--epochs=2", "--batch-seconds=3", "--adapter=none", "--layer=2", "--pool=sap"]
    assert run_cli("finetune", *own, "--out=alone").code == 0
    alone, cell = (
        [json.loads(line) for line in Path(out, "predictions.jsonl").read_text().splitlines()]
        for out in ("alone", "sweep/layer-02/sap")
    )
    assert len(alone) == len(cell) == 6
    for one, other in zip(alone, cell, strict=True):
        assert one["id"] == other["id"]
        assert one["predicted"] == other["predicted"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
    # Another layer gives something else, so the comparison could have failed.
    assert run_cli("finetune", *own, "--layer=0", "--out=other").code == 0
    lines = Path("other", "predictions.jsonl").read_text().splitlines()
    assert any(
        json.loads(line)["probabilities"] != pytest.approx(one["probabilities"], abs=1e-3)
        for line, one in zip(lines, cell, strict=True)
    )


@pytest.mark.usefixtures("here")
def test_it_goes_on_where_it_stopped(run_cli: Run, sweep: list[Any], corpus: Path) -> None:
    options = [*sweep, "--out=sweep", "--layers", "2", "--pools", "mean", "sap"]
    ran = run_cli("sweep_layers", *options)
    assert ran.code == 0, ran.err
    before = {path: path.stat().st_mtime_ns for path in Path("sweep").glob("**/predictions.jsonl")}
    table = Path("sweep/sweep.csv").read_text()
    (lost,) = Path("sweep").glob("layer-02/sap/metrics.json")
    lost.unlink()
    ran = run_cli("sweep_layers", *options)
    assert ran.code == 2
    assert "--resume" in ran.err
    ran = run_cli("sweep_layers", *options, "--resume")
    assert ran.code == 0, ran.err
    assert "2 runs, 1 of them finished" in ran.err
    assert Path("sweep/sweep.csv").read_text() == table
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.parent.name for path in before if before[path] == after[path]] == ["mean"]


@pytest.mark.usefixtures("here")
def test_one_failing_run_is_named_and_the_others_are_kept(run_cli: Run, sweep: list[Any]) -> None:
    options = [*sweep, "--out=sweep", "--layers", "2", "--pools", "mean", "sap"]
    assert run_cli("sweep_layers", *options).code == 0
    shutil.rmtree("sweep/layer-02")
    Path("sweep/layer-02/sap").mkdir(parents=True)
    Path("sweep/layer-02/sap/notes.txt").write_text("mine")
    ran = run_cli("sweep_layers", *options, "--resume")
    assert ran.code == 2
    assert "1 of 2 runs failed; the others are finished" in ran.err
    assert "layer 2, sap: --out sweep/layer-02/sap: is not empty and holds no run" in ran.err
    assert [(cell["layer"], cell["pool"]) for cell in read("sweep/sweep.json")["cells"]] == [
        (2, "mean")
    ]


def test_a_worker_that_dies_is_told(
    tmp_path: Path, hubert_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SweepOptions(backbone=str(hubert_folder), data=[str(corpus)])
    (tmp_path / "program").write_text("#!/bin/sh\necho no memory >&2\nexit 9\n")
    (tmp_path / "program").chmod(0o755)
    monkeypatch.setattr(sweep_pool.sys, "executable", str(tmp_path / "program"))
    cell = Cell(2, "sap", tmp_path / "cell")
    wrong = sweep_pool.run_cells([cell, Cell(1, "sap", tmp_path / "next")], options, tmp_path)
    assert list(wrong) == ["layer 2, sap", "layer 1, sap"]
    assert re.search(r"ended with code 9; see .*worker-0\.txt", wrong["layer 2, sap"])
    assert "no memory" in (tmp_path / "logs" / "worker-0.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--backbone=fbank"], "--backbone: found fbank"),
        (["--layers", "1", "7"], "--layers: found 7, but .* has the layers 0 .* to 2"),
        (["--layers", "1", "1"], "--layers: found \\[1, 1\\], must be different"),
        (["--pools", "sap", "max"], "--pools: found \\['max'\\], must be among mean, sap"),
        (["--layer=2"], "--layer: found 2, must be left out here; give --layers"),
        (["--pool=qkv"], "--pool: found qkv, must be left out here; give --pools"),
        (["--lora=r=2"], "--lora and --unfreeze-top"),
        (["--jobs=0"], "--jobs: found 0, must be at least 1"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_runs(
    arguments: list[str], told: str, run_cli: Run, sweep: list[Any]
) -> None:
    ran = run_cli("sweep_layers", *sweep, *arguments, "--out=sweep")
    assert ran.code == 2
    assert re.search(told, ran.err), ran.err
    assert not Path("sweep").exists()


def test_a_sweep_that_ends_where_it_lists_bad_audio_can_begin_anew(
    run_cli: Run, sweep: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_and_end(
        clips: Any, backbone: Any, options: Any, accelerator: Any, listing: Path
    ) -> None:
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("{}\n")
        raise UsageError("killed here")

    monkeypatch.setattr(sweep_layers, "prepare_features", list_and_end)
    for _ in range(2):
        ran = run_cli("sweep_layers", *sweep, "--out=sweep", "--on-bad-audio=skip")
        assert ran.code == 2
        assert "killed here" in ran.err


@pytest.mark.usefixtures("here")
def test_models_of_a_worker_that_was_killed_are_dropped(run_cli: Run, sweep: list[Any]) -> None:
    options = [*sweep, "--out=sweep", "--layers", "2", "--pools", "mean"]
    assert run_cli("sweep_layers", *options).code == 0
    left = Path("sweep/layer-02/mean/model")
    left.mkdir()
    ran = run_cli("sweep_layers", *options, "--resume")
    assert ran.code == 0, ran.err
    assert not left.exists()


def test_plan_is_each_layer_with_each_pooler_and_finetune_gets_the_rest(tmp_path: Path) -> None:
    options = SweepOptions(backbone="some/encoder", weighted=True, pools=["sap", "qkv"], epochs=7)
    cells = plan_cells(options, [0, 12], tmp_path)
    assert [(cell.layer, cell.pool) for cell in cells] == [
        (layer, pool) for layer in (0, 12, "weighted") for pool in ("sap", "qkv")
    ]
    assert [cell.folder.relative_to(tmp_path).as_posix() for cell in cells][::2] == [
        *("layer-00/sap", "layer-12/sap", "weighted/sap"),
    ]
    made = finetune_options(options, Cell(12, "qkv", tmp_path / "cell"))
    assert (made.layer, made.pool, made.out) == (12, "qkv", str(tmp_path / "cell"))
    assert (made.epochs, made.adapter, made.report_clips) == (7, "none", 0)
