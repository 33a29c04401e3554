# SPDX-License-Identifier: Apache-2.0
"""The extras that messages name are there, and installed as the documentation says."""

import re
from pathlib import Path

from voxadapt.extras import install_command

ROOT = Path(__file__).parents[2]


def test_the_command_is_that_of_the_documentation() -> None:
    command, where = install_command("onnx").split(" in ")
    assert where == "the repository of voxadapt"
    assert command in (ROOT / "docs/onnx.md").read_text(encoding="utf-8")


def test_every_extra_that_is_asked_for_is_there_and_none_is_sought_on_an_index() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = set()
    for folder in ("adapters", "backbones", "pooling", "recipes", "voxadapt"):
        for file in (ROOT / folder).rglob("*.py"):
            source = file.read_text(encoding="utf-8")
            assert "'voxadapt[" not in source, file
            asked |= set(re.findall(r"""install_command\(['"](\w+)['"]\)""", source))
    assert {"hf", "onnx", "serve", "vad", "webdataset"} <= asked
    for extra in asked:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
