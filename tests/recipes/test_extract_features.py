# SPDX-License-Identifier: Apache-2.0
"""``extract_features``: what it computes, keeps, prints and exports, killed or shared."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import HubertModel

from voxadapt.backbones import read_audio
from voxadapt.recipes.corpora import feature_extraction
from voxadapt.recipes.running import encoder_precision

Run = Callable[..., Any]
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def options(corpus: Path, hubert_folder: Path) -> list[Any]:
    return ["--data", corpus, "--backbone", hubert_folder, "--layer=1"]


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has it; torch computes it on any."""
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: True)


def contents(folder: Path) -> dict[Path, bytes]:
    """Bytes of every file below a folder but what a killed process left."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".unfinished"
    }


def exported(folder: Path, name: str) -> list[np.ndarray]:
    """The clips of an exported part, each ``[T, D]``."""
    lengths = [int(line) for line in (folder / f"{name}.lengths").read_text().splitlines()]
    return np.split(np.load(folder / f"{name}.npy"), np.cumsum(lengths)[:-1])


def test_it_fills_the_cache_and_says_what_is_there(
    run_cli: Run, options: list[Any], tmp_path: Path
) -> None:
    ran = run_cli("extract_features", *options, "--features=cache")
    assert ran.code == 0, ran.err
    (folder,) = (tmp_path / "cache").iterdir()
    rows = dict(line.split(None, 1) for line in ran.out.splitlines())
    assert rows["cache"] == str(Path("cache") / folder.name)
    assert rows["clips"] == "25, 0 left out"
    assert rows["precision"] == "fp32"
    assert rows["licence"] == "not said by a model card"
    assert "a frame        16 features, 50 a second" in ran.out
    assert "layer 1\nrun            1 layers" in ran.out
    frames = sum(len(np.load(file)) for file in folder.glob("*.npy"))
    assert f"{frames:,} frames" in rows["audio"]
    assert rows["size"].startswith(f"{frames * 32 / 1e6:.2f} MB")
    assert "audio-hours per second" in ran.err

    before = contents(tmp_path)
    again = run_cli("extract_features", *options, "--features=cache")
    assert (again.code, again.out) == (0, ran.out)
    assert "audio-hours per second" not in again.err  # nothing was computed
    assert contents(tmp_path) == before


def test_a_batch_is_as_long_as_it_was_told(
    run_cli: Run, options: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    encode = feature_extraction._encode

    def measured(batch: Any, *rest: Any) -> Any:
        sizes.append(batch.waveforms.numel())
        return encode(batch, *rest)

    monkeypatch.setattr(feature_extraction, "_encode", measured)
    for number, seconds in enumerate(([], ["--batch-seconds=1.5"])):
        sizes.clear()
        assert run_cli("extract_features", *options, f"--features={number}", *seconds).code == 0
        # Without being told, all 11 s of this corpus fit into one.
        assert (max(sizes) <= 24_000, len(sizes) > 1) == (bool(seconds), bool(seconds))


def test_other_recipes_find_what_it_left(
    run_cli: Run, options: list[Any], finetune_options: list[str]
) -> None:
    assert run_cli("extract_features", *options, "--features=cache").code == 0
    common = [*options, "--features=cache", "--adapter=none", "--out=run"]
    ran = run_cli("finetune", *finetune_options, *common)
    assert ran.code == 0, ran.err
    assert "audio-hours per second" not in ran.err


def test_licence_and_layers_side_by_side_are_told(
    run_cli: Run, corpus: Path, hubert_folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    HubertModel.from_pretrained(hubert_folder).save_pretrained(model)
    (model / "README.md").write_text("---\nlicense: mit\n---\n")
    ran = run_cli("extract_features", "--data", corpus, "--backbone", model, "--layer=weighted")
    assert ran.code == 0, ran.err
    assert "licence        mit" in ran.out
    assert "48 features (3 layers side by side)" in ran.out


def test_export_is_what_transformers_computes(
    run_cli: Run, options: list[Any], hubert_folder: Path, corpus_rows: Rows, tmp_path: Path
) -> None:
    ran = run_cli("extract_features", *options, "--export=npy", "--out=out")
    assert ran.code == 0, ran.err
    out = tmp_path / "out"
    endings = ("emo", "ids", "lengths", "npy", "tsv")
    names = {f"{part}.{ending}" for part in ("train", "valid", "test") for ending in endings}
    assert {path.name for path in out.iterdir()} == {*names, "features.json"}
    model = HubertModel.from_pretrained(hubert_folder).eval()
    for part in ("train", "valid", "test"):
        rows = [row for row in corpus_rows if row["split"] == part]
        clips = exported(out, part)
        assert np.load(out / f"{part}.npy", mmap_mode="r").dtype == np.float32
        for row, frames in zip(rows, clips, strict=True):
            with torch.inference_mode():
                states = model(read_audio(row["path"])[None], output_hidden_states=True)
            expected = states.hidden_states[1][0].numpy()
            np.testing.assert_allclose(frames, expected, atol=2e-3)  # through float16
        pairs = [line.split("\t") for line in (out / f"{part}.emo").read_text().splitlines()]
        assert pairs == [[row["id"], row["label"]] for row in rows]
        assert (out / f"{part}.ids").read_text().split() == [row["id"] for row in rows]
    description = json.loads((out / "features.json").read_text())
    assert description["backbone_config"]["layer"] == 1
    assert description["backbone"]["frame_rate"] == 50.0
    assert description["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_export_without_splits_with_a_label_of_choice_and_bad_clips_left_out(
    run_cli: Run, write_rows: Callable[..., Path], corpus_rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    rows = [{"id": row["id"], "path": row["path"], "who": row["speaker"]} for row in corpus_rows]
    rows.insert(3, {"id": "bad", "path": "bad.wav", "who": "nobody"})
    given = ["--data", write_rows(rows), "--allow-outside", "--export=npy", "--out=out"]
    ran = run_cli("extract_features", *given, "--label=who")
    assert (ran.code, "1 of 26 clips" in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()
    ran = run_cli("extract_features", *given, "--label=who", "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    assert "left out: bad: " in ran.err
    assert "25, 1 left out" in ran.out
    del rows[3]
    expected = "".join(f"{row['id']}\t{row['who']}\n" for row in rows)
    assert (tmp_path / "out" / "all.emo").read_text() == expected
    assert len(exported(tmp_path / "out", "all")) == 25


def test_the_filterbank_too_and_without_labels(
    run_cli: Run, write_rows: Callable[..., Path], corpus_rows: Rows, tmp_path: Path
) -> None:
    data = write_rows([{"path": row["path"]} for row in corpus_rows[:3]])
    given = ["--data", data, "--allow-outside", "--export=npy", "--out=out"]
    ran = run_cli("extract_features", *given)
    assert ran.code == 0, ran.err
    assert "fbank, layer none" in ran.out
    assert not (tmp_path / "out" / "all.emo").exists()
    assert [frames.shape[1] for frames in exported(tmp_path / "out", "all")] == [160] * 3


@pytest.mark.parametrize("taken", ["valid.npy", "train.emo", "features.json"])
def test_nothing_is_overwritten(taken: str, run_cli: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / taken).write_text("mine")
    ran = run_cli("extract_features", "--data", corpus, "--export=npy", "--out=out")
    assert ran.code == 2
    assert f"{taken} is there already; nothing was overwritten" in ran.err
    assert (tmp_path / "out" / taken).read_text() == "mine"
    # It is said before anything is computed.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_written_loses_nothing(
    run_cli: Run, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    given = ["--data", corpus, "--export=npy"]
    ran = run_cli("extract_features", *given, "--out=file")
    assert (ran.code, "is a file; give a folder" in ran.err) == (2, True)
    ran = run_cli("extract_features", *given, "--out=file/out")
    assert (ran.code, "cannot be written" in ran.err) == (2, True)
    assert "are in the cache" in ran.err


def test_in_bf16_the_features_are_close_and_kept_apart(
    run_cli: Run, options: list[Any], with_bf16: None, tmp_path: Path
) -> None:
    for precision in ("fp32", "bf16"):
        given = ["--precision", precision, "--features=cache", "--export=npy", "--out", precision]
        ran = run_cli("extract_features", *options, *given)
        assert ran.code == 0, ran.err
        assert f"precision      {precision}" in ran.out
    full, half = (exported(tmp_path / name, "train") for name in ("fp32", "bf16"))
    for one, other in zip(full, half, strict=True):
        error = np.linalg.norm(one - other) / np.linalg.norm(one)
        assert 1e-5 < error < 0.03
    assert len(list((tmp_path / "cache").iterdir())) == 2


# The recipe with shards of three clips, and with pauses where it is told to be slow.
CUT_UP = """
import sys, time
from voxadapt.recipes import extract_features
from voxadapt.recipes.running import encoder_precision
from voxadapt.recipes.running.command_line import leave, run_command
from voxadapt.recipes.corpora import feature_extraction

encoder_precision.has_bf16 = lambda kind: True
feature_extraction.SHARD_CLIPS = 3
if sys.argv[1] == "slow":
    encode = feature_extraction._encode
    feature_extraction._encode = lambda *batch: time.sleep(0.1) or encode(*batch)
leave(run_command(extract_features.main, sys.argv[2:]))
"""


def start(
    tmp_path: Path, speed: str, *arguments: Any, processes: int = 1
) -> "subprocess.Popen[bytes]":
    (tmp_path / "cut_up.py").write_text(CUT_UP)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*(launcher if processes > 1 else []), "cut_up.py", speed, *map(str, arguments)]
    return subprocess.Popen([sys.executable, *command], cwd=tmp_path)


@pytest.fixture(scope="module")
def whole(
    options: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Any], dict[Path, bytes]]:
    """Options of an extraction in bf16, and the cache that it leaves when nothing stops it."""
    given = [*options, "--precision=bf16"]
    tmp_path = tmp_path_factory.mktemp("whole")
    assert start(tmp_path, "fast", *given, "--features=whole").wait(timeout=120) == 0
    files = contents(tmp_path / "whole")
    assert len([path for path in files if path.suffix == ".npy"]) == 9
    return given, files


def test_killed_it_goes_on_where_it_stopped(
    whole: tuple[list[Any], dict[Path, bytes]], tmp_path: Path
) -> None:
    given, expected = whole
    cache = tmp_path / "cache"
    process = start(tmp_path, "slow", *given, "--features=cache")
    try:
        give_up = time.monotonic() + 120
        while len(list(cache.rglob("*.npy"))) < 3 and time.monotonic() < give_up:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    left = contents(cache)
    done = {path: (cache / path).stat().st_mtime_ns for path in left if path.suffix == ".json"}
    assert 2 <= len(done) < 10
    # What is there can be read, and is what an extraction that nothing stops writes.
    assert all(expected[path] == content for path, content in left.items())
    assert start(tmp_path, "fast", *given, "--features=cache").wait(timeout=120) == 0
    assert contents(cache) == expected
    for path, written in done.items():
        assert (cache / path).stat().st_mtime_ns == written, "computed again"


def test_two_processes_write_the_same_bytes_as_one(
    whole: tuple[list[Any], dict[Path, bytes]], tmp_path: Path
) -> None:
    given, expected = whole
    export = ["--export=npy", "--out"]
    two = start(tmp_path, "fast", *given, "--features=two", *export, "two_out", processes=2)
    assert two.wait(timeout=240) == 0
    assert contents(tmp_path / "two") == expected
    assert start(tmp_path, "fast", *given, "--features=two", *export, "one_out").wait(120) == 0
    one, other = (contents(tmp_path / name) for name in ("one_out", "two_out"))
    described = Path("features.json")
    assert one.pop(described)
    assert other.pop(described)
    assert one == other


def test_results_alone_go_to_standard_output(
    run_process: Run, corpus: Path, hubert_folder: Path
) -> None:
    ran = run_process("extract_features", "--data", corpus, "--backbone", hubert_folder)
    assert ran.code == 0, ran.err
    assert [line[:14].strip() for line in ran.out.splitlines()] == [
        *("encoder", "run", "precision", "licence", "normalisation", "a frame", "it sees"),
        *("clips", "audio", "size", "cache"),
    ]
    assert os.linesep not in ran.out.strip().splitlines()[-1]
