# SPDX-License-Identifier: Apache-2.0
"""The package's face, and that its layout gets in nobody's way."""

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

import pytest

import voxadapt

ROOT = Path(__file__).resolve().parents[2]


def test_names_are_looked_up_when_asked_for() -> None:
    from voxadapt.classifier import Prediction, SpeechClassifier
    from voxadapt.frame_classifier import FrameClassifier

    assert voxadapt.SpeechClassifier is SpeechClassifier
    assert voxadapt.Prediction is Prediction
    assert voxadapt.FrameClassifier is FrameClassifier
    assert set(dir(voxadapt)) == set(voxadapt.__all__)
    for name in voxadapt.__all__:
        assert getattr(voxadapt, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SpeechClasifier'"):
        _ = voxadapt.SpeechClasifier
    with pytest.raises(ImportError):
        from voxadapt import nothing  # noqa: F401


def test_the_version_is_the_distributions() -> None:
    assert voxadapt.__version__ == importlib.metadata.version("voxadapt")
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated is not None
    assert voxadapt.__version__ == stated[1]


def test_the_package_is_typed() -> None:
    assert (ROOT / "voxadapt" / "py.typed").exists()


def test_every_folder_with_code_is_packaged() -> None:
    listed = set(
        re.findall(r'^    "(voxadapt[\w.]*)",$', (ROOT / "pyproject.toml").read_text(), re.M)
    )
    found = {
        ".".join(("voxadapt", *path.parent.relative_to(ROOT).parts))
        for folder in ("adapters", "backbones", "pooling", "recipes")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert listed == found | {"voxadapt"}


def test_no_recipe_is_called_like_a_module_that_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Started by path, ``recipes/`` stands first on ``sys.path`` and would hide it."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "recipes" not in entry])
    names = [path.stem for path in (ROOT / "recipes").iterdir() if path.suffix in (".py", "")]
    names = [name for name in names if not name.startswith("_")]
    assert "finetune" in names
    for name in names:
        assert name not in sys.stdlib_module_names
        assert importlib.util.find_spec(name) is None, name


def test_every_source_file_names_its_licence() -> None:
    for folder in ("adapters", "backbones", "pooling", "recipes", "voxadapt", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            assert first == "# SPDX-License-Identifier: Apache-2.0", path
