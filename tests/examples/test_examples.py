# SPDX-License-Identifier: Apache-2.0
"""Each example runs as it stands, in a new process, and learns what it claims to."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MOST_LINES = 60
# Script: what it needs beyond the package, what chance would give.
SCRIPTS = {
    "plain_torch": None,
    "frame_embeddings": None,
    "with_hf_trainer": None,
    "with_peft": None,
    "with_lightning": "lightning",
    "with_speechbrain": "speechbrain",
}
# The others import a trainer each, which takes seconds.
QUICK = {"plain_torch", "frame_embeddings"}


def run(script: str, cwd: Path, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{script}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "script",
    [
        script if script in QUICK else pytest.param(script, marks=pytest.mark.slow)
        for script in SCRIPTS
    ],
)
def test_an_example_learns(script: str, tmp_path: Path) -> None:
    needed = SCRIPTS[script]
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"examples/{script}.py needs {needed}, which is not installed")
    out = run(script, tmp_path)
    found = re.search(r"accuracy on new (?:clips|frames): ([\d.]+)(?:, of a constant: (.+))?", out)
    assert found is not None, out
    # Two classes of clips, half each, unless the script says what chance is.
    chance = float(found[2] or 0.5)
    assert float(found[1]) > chance + 0.75 * (1 - chance), out


@pytest.mark.slow
def test_frames_of_an_adapter_that_was_pretrained(pretrained: Path, tmp_path: Path) -> None:
    out = run("frame_embeddings", tmp_path, str(pretrained / "adapter"))
    found = re.search(r"frames: ([\d.]+), of a constant: ([\d.]+)", out)
    assert found is not None, out
    assert float(found[1]) > float(found[2]) + 0.05


def test_examples_are_short_and_all_are_tested() -> None:
    files = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert files.keys() == {"made_audio", *SCRIPTS}
    for path in files.values():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= MOST_LINES, path.name
        assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"
        assert importlib.util.find_spec(path.stem) is None, f"{path.stem} hides a package"
