# SPDX-License-Identifier: Apache-2.0
"""``pretrain_adapter --features online``: as from the cache, and with changes to the audio."""

import contextlib
import json
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.adapters import WAPTransformer
from voxadapt.recipes.running.checkpoints import load_checkpoint

AUGMENT = [
    "--augment.speed=[0.9, 1.1]",
    "--augment.gain_db=[-6, 6]",
    "--augment.noise_snr_db=[5, 20]",
]
RunCli = Callable[..., Any]


@pytest.fixture
def online(corpus: Path, pretrain_options: list[str]) -> list[str]:
    """Options of a tiny ``pretrain_adapter --features online``."""
    cached = pretrain_options.index("--features")
    return [*pretrain_options[:cached], "--features=online", *pretrain_options[cached + 2 :]]


def losses(out: Path) -> list[float]:
    log = json.loads((out / "log.json").read_text())
    return [entry["loss"] for entry in log if "loss" in entry]


def outcome(out: Path) -> dict[str, bytes]:
    names = ("adapter/model.safetensors", "adapter/codebook.safetensors", "log.json")
    return {name: (out / name).read_bytes() for name in names}


def test_without_augmentation_it_is_the_run_from_the_cache(
    run_cli: RunCli, online: list[str], pretrained: Path
) -> None:
    ran = run_cli("pretrain_adapter", *online, "--out=run")
    assert ran.code == 0, ran.err
    # The cache rounds to float16.
    assert losses(Path("run")) == pytest.approx(losses(pretrained), rel=2e-3)
    assert not Path("online").exists()
    extras = WAPTransformer.from_pretrained("run/adapter").extras
    cached = WAPTransformer.from_pretrained(pretrained / "adapter").extras
    for name in ("hours", "clips", "steps", "backbone_fingerprint"):
        assert extras[name] == cached[name]
    assert extras["options"]["features"] == "online"


def test_augmentation_changes_the_run_and_resume_does_not(
    run_cli: RunCli, online: list[str], pretrained: Path
) -> None:
    options = [*online, *AUGMENT, "--checkpoint-steps=3"]
    assert run_cli("pretrain_adapter", *options, "--out=whole").code == 0
    assert losses(Path("whole")) != pytest.approx(losses(pretrained), rel=2e-3)
    page = Path("whole/report.html").read_text()
    assert "speed 0.9 to 1.1, gain -6 to 6 dB, noise 5 to 20 dB for 50.0" in page
    assert "Changed in the audio" not in (pretrained / "report.html").read_text()
    for stop in (1, 7):
        ran = run_cli("pretrain_adapter", *options, "--out=parts", "--resume", "--max-steps", stop)
        assert ran.code == 0, ran.err
    assert run_cli("pretrain_adapter", *options, "--out=parts", "--resume").code == 0
    assert outcome(Path("parts")) == outcome(Path("whole"))


def test_passes_and_processes_do_not_change_the_run(
    run_cli: RunCli, run_process: Callable[..., Any], online: list[str], tmp_path: Path
) -> None:
    options = [*online, *AUGMENT, "--adapter.dropout=0", "--epochs=1", "--on-bad-audio=skip"]
    assert run_cli("pretrain_adapter", *options, "--passes=1", "--out=one").code == 0
    ran = run_process("pretrain_adapter", *options, "--passes=2", "--out=two", processes=2)
    assert ran.code == 0, ran.err
    assert "2 process(es)" in ran.err
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    states = [load_checkpoint(tmp_path / out) for out in ("one", "two")]
    assert states[0] is not None
    assert states[1] is not None
    for name, tensor in states[0]["pretrainer"].items():
        if not name.endswith("query_key_value.bias"):  # the keys' have a gradient of rounding alone
            torch.testing.assert_close(
                tensor, states[1]["pretrainer"][name], rtol=1e-4, atol=1e-4, msg=name
            )
    checks = [
        json.loads((tmp_path / out / "audio_check.json").read_text()) for out in ("one", "two")
    ]
    assert checks[0] == checks[1]


def test_an_encoder_runs_in_the_loop(
    run_cli: RunCli, online: list[str], hubert_folder: Path
) -> None:
    options = [*online, *AUGMENT, "--backbone", hubert_folder, "--epochs=1", "--out=run"]
    ran = run_cli("pretrain_adapter", *options)
    assert ran.code == 0, ran.err
    assert WAPTransformer.from_pretrained("run/adapter").input_size == 16


def test_bad_audio_stops_the_run_before_it_trains_or_is_left_out(
    run_cli: RunCli,
    online: list[str],
    corpus_rows: list[dict[str, str]],
    write_rows: Callable[..., Path],
) -> None:
    Path("bad.wav").write_bytes(b"")
    rows = [*corpus_rows, {**corpus_rows[0], "id": "bad", "path": "bad.wav"}]
    options = [*online, "--data", write_rows(rows), "--allow-outside", "--max-steps=1", "--out=run"]
    ran = run_cli("pretrain_adapter", *options)
    assert ran.code == 2
    assert "1 of 26 clips cannot be used" in ran.err
    assert "bad.wav holds 0 bytes" in ran.err
    assert "Traceback" not in ran.err
    ran = run_cli("pretrain_adapter", *options, "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    assert "1 bad clips left out" in ran.err
    assert "on 25 clips" in ran.err


def test_a_run_stays_with_the_cache_or_without(
    run_cli: RunCli, online: list[str], pretrain_options: list[str]
) -> None:
    assert run_cli("pretrain_adapter", *online, "--max-steps=1", "--out=run").code == 0
    ran = run_cli("pretrain_adapter", *pretrain_options, "--resume", "--out=run")
    assert ran.code == 2
    assert "features was 'online', is '" in ran.err


def test_augmentation_of_cached_frames_is_refused(
    run_cli: RunCli, pretrain_options: list[str]
) -> None:
    ran = run_cli("pretrain_adapter", *pretrain_options, AUGMENT[0], "--out=run")
    assert ran.code == 2
    assert "frames come from the cache" in ran.err
    assert "Add --features online" in ran.err
    assert not Path("run").exists()
    ran = run_cli("pretrain_adapter", *pretrain_options, "--augment.speed=[2, 3]", "--out=run")
    assert ran.code == 2
    assert "augment.speed: found [2.0, 3.0], must be" in ran.err


@pytest.mark.parametrize("recipe", ["finetune", "extract_features"])
def test_other_recipes_refuse_it(recipe: str, run_cli: RunCli, corpus: Path) -> None:
    ran = run_cli(recipe, "--data", corpus, "--features=online")
    assert ran.code == 2
    assert "--features online: this recipe reads each clip's frames from the cache" in ran.err
    assert "./online" in ran.err
    assert not Path("online").exists()


def test_score_refuses_it(run_cli: RunCli, corpus: Path, finetuned: Path) -> None:
    ran = run_cli("score", finetuned, "--data", corpus, "--features=online")
    assert ran.code == 2
    assert "only pretrain_adapter runs the backbone at every step" in ran.err


def test_a_folder_may_be_called_online(run_cli: RunCli, pretrain_options: list[str]) -> None:
    options = [*pretrain_options, "--features=./online", "--max-steps=1", "--out=run"]
    assert run_cli("pretrain_adapter", *options).code == 0
    assert list(Path("online").rglob("*.npy"))


def test_the_help_says_what_it_does(run_cli: RunCli) -> None:
    text = " ".join(run_cli("pretrain_adapter", "--help").out.split())
    assert "`online` caches nothing and runs the backbone at every step" in text
    assert "only with `--features online`, none by default" in text
    assert "given as ./online" in " ".join(run_cli("finetune", "--help").out.split())


@pytest.mark.slow
def test_a_killed_run_resumed_is_bit_for_bit_the_run_that_was_not(
    run_process: Callable[..., Any],
    start_process: Callable[..., Any],
    online: list[str],
    tmp_path: Path,
) -> None:
    options = [*online, *AUGMENT, "--epochs=20", "--checkpoint-steps=2"]
    moments = []
    for _ in range(4):
        process = start_process("pretrain_adapter", *options, "--out=killed", "--resume")
        moments.append(random.uniform(2.0, 12.0))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments[-1])
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for out in ("killed", "whole"):
        ran = run_process("pretrain_adapter", *options, "--out", out, "--resume")
        assert ran.code == 0, (moments, ran.err)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole"), moments
