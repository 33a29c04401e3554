# SPDX-License-Identifier: Apache-2.0
"""What the README promises first. That its commands parse, and run: tests/docs."""

from pathlib import Path

import docs_pages as pages
import numpy as np
import pytest
import soundfile
import torch

from voxadapt import FrameClassifier, SpeechClassifier
from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import FilterbankBackbone
from voxadapt.pooling import build_pooler

README = pages.ROOT / "README.md"


def test_the_owner_s_commands_are_there() -> None:
    found = [*pages.page_commands(README), *pages.inline_commands(README)]
    commands = [command.recipe() for command in found]
    commands += [
        pages.Command("", tuple(code.split())).recipe() for code in pages.inline_code(README)
    ]
    assert ("pretrain_adapter", []) in commands
    assert ("finetune", ["--pool", "sap"]) in commands
    assert len(commands) >= 8


def test_the_two_commands_of_its_first_screen() -> None:
    words = [command.words for command in pages.page_commands(README)]
    assert [word[1] for word in words if word[0] == "make"] == ["demo", "test"]


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = WAPTransformerConfig(input_size=160, width=16, heads=2, feedforward=16)
    adapter = WAPTransformer(config)
    adapter.save_pretrained(tmp_path / "runs/adapter/adapter")
    classifier = FrameClassifier(adapter, build_pooler("sap", 16), classes=2)
    model = SpeechClassifier(FilterbankBackbone(), classifier, ["no", "yes"])
    model.save_pretrained(tmp_path / "runs/emotion/model")
    noise = np.random.default_rng(0).normal(size=16_000) * 0.1
    soundfile.write(tmp_path / "clip.wav", noise, 16_000)
    monkeypatch.chdir(tmp_path)
    sources = pages.blocks(README, "python")
    assert len(sources) == 2
    for block in sources:
        exec(compile(block.text, block.place, "exec"), {})
