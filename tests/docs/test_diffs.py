# SPDX-License-Identifier: Apache-2.0
"""The diffs of the architecture page apply to the code as it is, and what they add works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docs_pages as pages
import docs_world as world
import pytest

FOLDERS = ("adapters", "backbones", "pooling", "recipes")
DIFFS = ("pooler.diff", "objective.diff", "encoder.diff", "corpus.diff")
SMALL = world.SMALL["pretrain_adapter"]
SCRIPT = f"""
import json
import pathlib
import torch
import transformers
import voxadapt.pooling
from voxadapt.backbones import load_backbone
from voxadapt.recipes import finetune, init_data, pretrain_adapter
from voxadapt.recipes.running.command_line import run_command

assert str(pathlib.Path.cwd()) in voxadapt.pooling.__file__, voxadapt.pooling.__file__

common = ["--data", "corpus.csv", "--features", "features"]
small = ["--epochs", "1", "--adapter", "none", "--pool", "max", "--out", "runs/max"]
assert run_command(finetune.main, common + small) == 0
assert "maximum (max)" in pathlib.Path("runs/max/report.html").read_text()

objective = ["--objectives.utterance_regression", "1", "--log-steps", "1", "--out", "runs/adapter"]
assert run_command(pretrain_adapter.main, common + {SMALL!r} + objective) == 0
log = json.loads(pathlib.Path("runs/adapter/log.json").read_text())
assert 0 < log[-1]["utterance_regression"] < 2, log[-1]

torch.manual_seed(0)
convolutions = dict(conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(10, 8))
position = dict(num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
config = transformers.UniSpeechConfig(
    num_feat_extract_layers=2, **convolutions, **position, **sizes
)
model = transformers.UniSpeechModel(config).eval()
waveforms = torch.randn(1, 4000)
with torch.no_grad():
    theirs = model(waveforms, output_hidden_states=True).hidden_states[1]
frames, _ = load_backbone(model, layer=1)(waveforms, torch.zeros(1, 4000, dtype=torch.bool))
assert torch.allclose(frames, theirs, atol=1e-4), (frames - theirs).abs().max()

assert run_command(init_data.main, ["casia", "--corpus", "casia", "--out", "casia.csv"]) == 0
assert pathlib.Path("casia.csv").read_text().count("wangzhe_angry_") == 2
"""


def write_diffs(folder: Path) -> list[Path]:
    found = []
    for block in pages.blocks(pages.ROOT / "docs" / "architecture.md", "diff"):
        found.append(folder / block.title)
        found[-1].write_text(block.text, encoding="utf-8")
    return found


def copy_package(folder: Path) -> None:
    """The package as it is imported: the folders inside of it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(pages.ROOT / "voxadapt", folder / "voxadapt", ignore=ignored)
    for name in FOLDERS:
        shutil.copytree(pages.ROOT / name, folder / "voxadapt" / name, ignore=ignored)


def test_each_place_to_extend_has_a_diff(tmp_path: Path) -> None:
    assert tuple(path.name for path in write_diffs(tmp_path)) == DIFFS


@pytest.mark.timeout(600)
def test_the_diffs_apply_and_work(tmp_path: Path) -> None:
    copy_package(tmp_path)
    for path in write_diffs(tmp_path):
        # In the package's folder adapters/ stands inside of voxadapt/.
        text = re.sub(
            r"^(---|\+\+\+) ([ab])/(?!voxadapt/)", r"\1 \2/voxadapt/", path.read_text(), flags=re.M
        )
        text = re.sub(r"^diff --git .*\n", "", text, flags=re.M)
        path.write_text(text)
        applied = subprocess.run(
            ["git", "apply", "--unidiff-zero", str(path)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert applied.returncode == 0, f"{path.name}: {applied.stderr}"
    world.write_corpus(tmp_path, "corpus")
    for emotion in ("angry", "happy", "neutral", "sad"):
        for take in range(2):
            path = tmp_path / "casia" / "wangzhe" / emotion / f"20{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            world.soundfile.write(path, world.sound(emotion, 0, take, "casia"), world.RATE)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
