# SPDX-License-Identifier: Apache-2.0
"""Recipes on tar shards: what is computed, and that neither processes nor kills change it."""

import json
import runpy
import signal
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.running.checkpoints import load_checkpoint

from ..corpora.wds_corpora import shard_corpus

pytest.importorskip("webdataset")

KILLED = Path(__file__).with_name("killed_pretraining.py")
RECORDED = Path(__file__).with_name("recorded_pretraining.py")
TOLERANCE = 1e-5
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def source(corpus_rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> str:
    source = shard_corpus(corpus_rows, tmp_path_factory.mktemp("wds"))
    read_manifest(source)  # leaves the indexes, so that all runs say the same in their logs
    return source


def on_shards(options: list[str], source: str, *frames: str) -> list[str]:
    """Options of a recipe with shards as corpus, and frames from somewhere else if told."""
    left_out = {"--data", "--features"} if frames else {"--data"}
    kept = []
    for place, option in enumerate(options):
        if option not in left_out and options[place - 1] not in left_out:
            kept.append(option)
    return [*kept, "--data", source, *frames]


def shards(features: Path) -> list[Path]:
    return sorted(features.glob("*/*.npy"))


def test_frames_are_those_of_the_files(
    source: str, corpus: Path, features: Path, run_cli: Run
) -> None:
    assert run_cli("extract_features", "--data", corpus, "--features", features).code == 0
    before = shards(features)
    ran = run_cli("extract_features", "--data", source, "--features", features)
    assert ran.code == 0, ran.err
    assert shards(features) == before  # all were found in the cache, by their content


@pytest.mark.slow
def test_processes_extract_the_same(source: str, run_cli: Run, run_process: Run) -> None:
    assert run_cli("extract_features", "--data", source, "--features", "one").code == 0
    options = ["--data", source, "--features", "two"]
    ran = run_process("extract_features", *options, processes=2)
    assert ran.code == 0, ran.err
    one, two = shards(Path("one")), shards(Path("two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_finetune_and_score(
    source: str, finetune_options: list[str], run_cli: Run, tmp_path: Path, features: Path
) -> None:
    options = [*on_shards(finetune_options, source), "--adapter=none", "--out", "run"]
    ran = run_cli("finetune", *options)
    assert ran.code == 0, ran.err
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert (metrics["n"], metrics["protocol"]) == (6, "split-column")
    again = ["--data", source, "--features", features, "--out", "score.json"]
    ran = run_cli("score", "run", *again)
    assert ran.code == 0, ran.err
    assert json.loads(Path("score.json").read_text())["ua"] == metrics["ua"]


def outcome(out: Path) -> dict[str, bytes]:
    names = ("adapter/model.safetensors", "adapter/codebook.safetensors", "log.json")
    return {name: (out / name).read_bytes() for name in names}


@pytest.mark.parametrize("frames", [[], ["--features", "online"]], ids=["cached", "online"])
def test_pretrain(
    source: str, pretrain_options: list[str], run_cli: Run, frames: list[str]
) -> None:
    options = [*on_shards(pretrain_options, source, *frames), "--max-steps=2", "--out=run"]
    ran = run_cli("pretrain_adapter", *options)
    assert ran.code == 0, ran.err
    assert "pretraining on 25 clips" in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("frames", [[], ["--features", "online"]], ids=["cached", "online"])
def test_a_killed_run_goes_on_bit_for_bit(
    source: str, pretrain_options: list[str], run_cli: Run, run_process: Run, frames: list[str]
) -> None:
    options = [*on_shards(pretrain_options, source, *frames), "--checkpoint-steps=1"]
    ran = run_cli("pretrain_adapter", *options, "--out=whole")
    assert ran.code == 0, ran.err
    assert "pretraining on 25 clips" in ran.err
    killed = run_process(KILLED, "after a step", "4", *options, "--out=run")
    assert killed.code == -signal.SIGKILL
    ran = run_cli("pretrain_adapter", *options, "--out=run", "--resume")
    assert ran.code == 0, ran.err
    assert outcome(Path("run")) == outcome(Path("whole"))


@pytest.mark.slow
def test_processes_train_the_same_online(
    source: str, pretrain_options: list[str], run_cli: Run, run_process: Run, tmp_path: Path
) -> None:
    options = on_shards(pretrain_options, source, "--features", "online")
    options += ["--adapter.dropout=0", "--augment.gain_db=[-6, 6]", "--epochs=2"]
    with runpy.run_path(str(RECORDED))["recorded"]() as recorded:
        ran = run_cli("pretrain_adapter", *options, "--out=one")
    assert ran.code == 0, ran.err
    ran = run_process(RECORDED, "gradients", *options, "--out=two", processes=2)
    assert ran.code == 0, ran.err
    assert "2 process(es)" in ran.err
    others = torch.load(tmp_path / "gradients.0")
    assert len(recorded) == len(others) >= 8
    for gradients, found in zip(recorded, others, strict=True):
        for one, other in zip(gradients, found, strict=True):
            torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE)
    logs = [json.loads(Path(out, "log.json").read_text()) for out in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) >= 8
    for entry, other_entry in zip(*logs, strict=True):
        assert entry == pytest.approx(other_entry, rel=TOLERANCE, abs=TOLERANCE)
    assert load_checkpoint(Path("two")) is not None


def test_errors_are_one_message(source: str, run_cli: Run, tmp_path: Path) -> None:
    ran = run_cli("extract_features", "--data", source.replace("003", "004"))
    assert ran.code == 2
    assert "these shards are not there" in ran.err
    (tmp_path / "bad.tar").write_bytes(b"x" * 2_000)
    ran = run_cli("extract_features", "--data", "wds:bad.tar")
    assert ran.code == 2
    assert "cannot be read as a tar file" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_errors_of_processes_are_one_message(run_process: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"x" * 2_000)
    ran = run_process("extract_features", "--data", "wds:bad.tar", processes=2)
    assert ran.code != 0
    assert ran.err.count("error: the shard") == 1
    assert "recipes/running/prepare.py" not in ran.err  # no traceback but torchrun's own


def test_only_the_first_of_processes_reads_shards_through(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait until it is done; one that fails waits for them as well."""
    from voxadapt.recipes.running import prepare
    from voxadapt.recipes.running.options import CorpusOptions

    for main in (True, False):
        events: list[str] = []
        group = Namespace(
            num_processes=2,
            is_main_process=main,
            wait_for_everyone=lambda: events.append("wait"),  # noqa: B023
        )

        def read(source: str, **options: Any) -> Any:
            events.append("read")  # noqa: B023
            raise DataError("it is bad")

        monkeypatch.setattr(prepare, "read_manifest", read)
        with pytest.raises(DataError):
            prepare.read_clips(CorpusOptions(data=[source]), group)
        assert events == (["read", "wait", "read"] if main else ["wait", "read"])
