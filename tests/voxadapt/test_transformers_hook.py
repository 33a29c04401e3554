# SPDX-License-Identifier: Apache-2.0
"""transformers knows saved models after ``import voxadapt``, whichever is imported first."""

import importlib
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from voxadapt import transformers_hook
from voxadapt.transformers_hook import RegisteringFinder

AUTO = "from transformers.models.auto.modeling_auto import AutoModelForAudioClassification"
ORDERS = {
    "voxadapt first": "import voxadapt; import transformers",
    "all of the Auto classes before": f"{AUTO}; import voxadapt; import transformers",
    "transformers first": "import transformers; import voxadapt",
    "the Auto config before, the rest after": (
        "from transformers import AutoConfig; import voxadapt; import transformers"
    ),
    "a part of voxadapt only": "from voxadapt.pooling import build_pooler; import transformers",
}
CHECK = """
model_class = transformers.AutoModelForAudioClassification._model_mapping[
    type(transformers.AutoConfig.for_model("voxadapt"))
]
assert model_class.__name__ == "VoxadaptForAudioClassification", model_class
config = transformers.AutoConfig.from_pretrained(sys.argv[1])
assert config.id2label == {0: "hum", 1: "noise", 2: "tone"}, config
extractor = transformers.AutoFeatureExtractor.from_pretrained(sys.argv[1])
assert extractor.sampling_rate == 16_000
assert "voxadapt.classifier" not in sys.modules
transformers.BertConfig()
"""


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", f"import sys\n{code}"]
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert "could not register" not in ran.stderr
    return ran.stdout


# Each is a new process that imports transformers; the first three differ most.
@pytest.mark.parametrize(
    "order",
    [
        order if number < 3 else pytest.param(order, marks=pytest.mark.slow)
        for number, order in enumerate(ORDERS)
    ],
)
def test_either_order_of_imports(order: str, finetuned: Path) -> None:
    run(ORDERS[order] + CHECK, str(finetuned / "model"))


def test_without_voxadapt_transformers_does_not_know_it(finetuned: Path) -> None:
    code = "import transformers\ntry:" + CHECK.replace("\n", "\n    ")
    code += "\n    print('known')\nexcept ValueError as error:\n    print(error)"
    assert "Unrecognized" in run(code, str(finetuned / "model"))


def test_the_import_of_the_package_imports_no_transformers() -> None:
    assert run("import voxadapt; print('transformers' in sys.modules)") == "False\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that the finder waits for, which counts how often it was registered with."""
    name = "a_module_that_is_waited_for"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registered: list[ModuleType] = []
    monkeypatch.setitem(transformers_hook._REGISTER, name, registered.append)
    monkeypatch.setattr(transformers_hook, "registered", registered, raising=False)
    yield name  # type: ignore[misc]
    sys.modules.pop(name, None)


def test_registration_comes_after_the_module_and_with_every_import(package: str) -> None:
    registered: list[ModuleType] = transformers_hook.registered  # type: ignore[attr-defined]
    module = importlib.import_module(package)
    assert [found.value for found in registered] == [1]
    # What the hook put around the loader is gone.
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    importlib.reload(module)
    del sys.modules[package]
    importlib.import_module(package)
    assert len(registered) == 3


def test_a_module_that_fails_to_load_is_not_registered_with(package: str, tmp_path: Path) -> None:
    registered = transformers_hook.registered  # type: ignore[attr-defined]
    path = tmp_path / f"{package}.py"
    path.write_text("raise ImportError('not today')\n")
    with pytest.raises(ImportError, match="not today"):
        importlib.import_module(package)
    assert registered == []
    path.write_text("value = 2 # now\n")
    importlib.invalidate_caches()
    assert importlib.import_module(package).value == 2
    assert len(registered) == 1


def test_a_registration_that_fails_is_a_warning_and_no_more(
    package: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(module: ModuleType) -> None:
        raise AttributeError("no AutoConfig any more")

    monkeypatch.setitem(transformers_hook._REGISTER, package, fail)
    with caplog.at_level(logging.WARNING):
        assert importlib.import_module(package).value == 1
    assert "could not register" in caplog.text
    assert "no AutoConfig any more" in caplog.text


def test_other_modules_are_left_to_other_finders_and_one_finder_is_enough() -> None:
    transformers_hook.install()
    finders = [finder for finder in sys.meta_path if isinstance(finder, RegisteringFinder)]
    assert len(finders) == 1
    assert finders[0].find_spec("json", None) is None
