# SPDX-License-Identifier: Apache-2.0
"""Every command that reads a manifest refuses audio outside of its folder, unless told."""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.cli import COMMANDS

Run = Callable[..., Any]

# What each command needs beside its data. They stop before it matters.
COMMANDS_WITH_DATA = {
    "extract_features": [],
    "pretrain_adapter": ["--out", "run"],
    "finetune": ["--out", "run"],
    "score": ["RUN"],
}


@pytest.fixture
def outside(tmp_path: Path, corpus_rows: list[dict[str, str]], write_rows: Run) -> Path:
    """A manifest whose audio lies elsewhere."""
    return write_rows(corpus_rows[:2], "sub/manifest.csv")


def arguments_of(command: str, finetuned: Path) -> list[str]:
    return [str(finetuned) if word == "RUN" else word for word in COMMANDS_WITH_DATA[command]]


@pytest.mark.parametrize("command", sorted(COMMANDS_WITH_DATA))
def test_refused(command: str, outside: Path, finetuned: Path, run_cli: Run) -> None:
    ran = run_cli(command, *arguments_of(command, finetuned), "--data", outside)
    assert ran.code == 2
    assert "has 2 problems" in ran.err
    assert "leads out of the manifest's folder" in ran.err
    assert "--allow-outside" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["extract_features"])
def test_allowed(command: str, outside: Path, run_cli: Run, features: Path) -> None:
    ran = run_cli(command, "--data", outside, "--features", features, "--allow-outside")
    assert ran.code == 0, ran.err


def test_commands_that_take_data_have_the_option() -> None:
    """A command that comes to be and takes `--data` must have `--allow-outside` as well."""
    with_data = set()
    for command in COMMANDS:
        module = importlib.import_module(f"voxadapt.recipes.{command}")
        for name in dir(module):
            options = getattr(module, name)
            if name.endswith("Options") and dataclasses.is_dataclass(options):
                fields = {field.name for field in dataclasses.fields(options)}
                if "data" in fields:
                    with_data.add(command)
                    assert "allow_outside" in fields, name
    assert with_data >= set(COMMANDS_WITH_DATA)
