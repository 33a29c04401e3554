# SPDX-License-Identifier: Apache-2.0
"""What the README tells to type: every command parses, and its Python runs."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch

from voxadapt import FrameClassifier, SpeechClassifier
from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import FilterbankBackbone
from voxadapt.cli import COMMANDS
from voxadapt.pooling import build_pooler

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def recipe_commands() -> list[tuple[str, list[str]]]:
    """Recipe and arguments of every line that starts one, in code blocks and in tables."""
    text = "\n".join([*blocks("bash"), *re.findall(r"`([^`\n]+)`", README)])
    found = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["accelerate", "launch"]:
            words = ["python", *words[2:]]
        if words[:1] == ["python"] and len(words) > 1 and words[1].startswith("recipes/"):
            name = Path(words[1]).stem
            if name != "X":
                found.append((name, words[2:]))
        elif words[:1] == ["voxadapt"] and len(words) > 2:
            found.append((words[1].replace("-", "_"), words[2:]))
    return found


def test_the_owner_s_commands_are_there() -> None:
    commands = recipe_commands()
    assert ("pretrain_adapter", []) in commands
    assert ("finetune", ["--pool", "sap"]) in commands
    assert len(commands) >= 8


@pytest.mark.parametrize(("name", "arguments"), recipe_commands())
def test_commands_parse(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in COMMANDS
    recipe = importlib.import_module(f"voxadapt.recipes.{name}")
    real_parse = recipe.parse
    seen = []

    def parse_only(*parts: object, **named: object) -> None:
        seen.append(real_parse(*parts, **named))
        raise KeyboardInterrupt  # parsed; nothing is run

    monkeypatch.setattr(recipe, "parse", parse_only)
    monkeypatch.chdir(ROOT)
    with pytest.raises(KeyboardInterrupt):
        recipe.main(arguments)
    assert seen


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("bash")), flags=re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import soundfile

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
    sources = blocks("python")
    assert len(sources) == 2
    for source in sources:
        exec(compile(source, "README.md", "exec"), {})
