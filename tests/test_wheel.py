# SPDX-License-Identifier: Apache-2.0
"""The wheel: the mapped names are in it, and the adapters import from it on their own."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

IMPORT_WITH_LITTLE = """
import sys

BLOCKED = {"transformers", "accelerate", "faiss", "peft", "torchaudio", "sklearn", "soundfile"}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"blocked: {name}")

sys.meta_path.insert(0, Block())
sys.path.insert(0, sys.argv[1])
import torch
from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
import voxadapt

assert voxadapt.__file__.startswith(sys.argv[1]), voxadapt.__file__
adapter = WAPTransformer(WAPTransformerConfig(input_size=8, width=16, heads=2, feedforward=16))
frames = adapter(torch.randn(1, 5, 8), torch.zeros(1, 5, dtype=torch.bool))
adapter.save_pretrained(sys.argv[2])
WAPTransformer.from_pretrained(sys.argv[2])
print(tuple(frames.shape))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    # From a copy: setuptools leaves its build folder beside the sources.
    copy = tmp_path_factory.mktemp("sources")
    names = (
        subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        .stdout.decode()
        .split("\0")
    )
    for name in filter(None, names):
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*build, str(copy)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_every_source_is_in_the_wheel(wheel: Path) -> None:
    found = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("adapters", "backbones", "pooling", "recipes"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml"):
                assert f"voxadapt/{path.relative_to(ROOT).as_posix()}" in found
    assert "voxadapt/py.typed" in found
    assert not [name for name in found if name.startswith(("adapters/", "recipes/", "tests/"))]


def test_adapters_work_from_the_wheel_without_the_heavy_packages(
    wheel: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    command = [sys.executable, "-c", IMPORT_WITH_LITTLE, str(site), str(tmp_path / "adapter")]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(1, 5, 16)"
