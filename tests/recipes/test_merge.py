# SPDX-License-Identifier: Apache-2.0
"""``merge`` from the command line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt import SpeechClassifier

Run = Callable[..., Any]


def test_the_merged_model_predicts_the_same_where_peft_is_missing(
    run_cli: Run, lora_run: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = corpus.with_name("hum_3_0.wav")
    expected = SpeechClassifier.from_pretrained(lora_run).predict(clip)
    ran = run_cli("merge", lora_run, "--out=a merged model")
    assert ran.code == 0, ran.err
    assert "merged model a merged model" in ran.err
    assert "voxadapt predict 'a merged model' CLIP.wav" in ran.err
    names = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert {path.name for path in Path("a merged model").iterdir()} == names
    monkeypatch.setitem(sys.modules, "peft", None)  # an import of it would fail
    with pytest.raises(ImportError):
        SpeechClassifier.from_pretrained(lora_run)
    found = SpeechClassifier.from_pretrained("a merged model").predict(clip)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_what_cannot_be_merged_or_would_be_overwritten_is_refused(
    run_cli: Run, lora_run: Path, finetuned: Path
) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    for arguments, message in (
        ((finetuned, "--out=merged"), "error: There is no LoRA to merge: nothing of the encoder"),
        ((lora_run,), "--out: missing"),
        ((lora_run, "--out=full"), "--out full: is there already"),
        ((lora_run, "--out=full/file"), "--out full/file: is there already"),
        (("nowhere/at/all", "--out=full/file/merged"), "--out full/file/merged: the folder"),
        (("nowhere/at/all", "--out=merged"), "there is no such folder"),
    ):
        ran = run_cli("merge", *arguments)
        assert ran.code == 2, ran.err
        assert message in ran.err
    assert not Path("merged").exists()
    assert [path.name for path in Path("full").iterdir()] == ["file"]
