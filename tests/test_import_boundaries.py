# SPDX-License-Identifier: Apache-2.0
"""What each folder may import: seen in new processes, and read from the sources."""

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("adapters", "backbones", "pooling")
HEAVY = {"transformers", "accelerate", "faiss", "peft", "torchaudio", "sklearn", "huggingface_hub"}
# What `import voxadapt` imports of it.
FACE = {"voxadapt", "voxadapt.transformers_hook"}
# What importing each name must not pull in, beside the two other folders and the recipes.
NOT_IMPORTED = {
    "voxadapt.adapters": HEAVY,
    "voxadapt.pooling": HEAVY,
    "voxadapt.backbones": {"transformers", "peft", "accelerate", "torchaudio", "faiss", "sklearn"},
}
# What any function of a folder may import beside torch, einops, numpy and the standard library.
IN_FUNCTIONS = {
    "adapters": {"faiss", "safetensors", "huggingface_hub"},
    "pooling": set(),
    "backbones": {
        "huggingface_hub",
        "peft",
        "safetensors",
        "soundfile",
        "torchaudio",
        "transformers",
        "yaml",
    },
}
AT_MODULE_LEVEL = {
    "adapters": {"torch", "einops"},
    "pooling": {"torch", "einops"},
    "backbones": {"torch", "einops", "numpy"},
}


def run(code: str, cwd: Path | None = None) -> str:
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def modules_after(statement: str) -> set[str]:
    return set(json.loads(run(f"import json, sys; {statement}; print(json.dumps([*sys.modules]))")))


@pytest.mark.parametrize("name", list(NOT_IMPORTED))
def test_import_pulls_in_neither_heavy_packages_nor_other_folders(name: str) -> None:
    modules = modules_after(f"import {name}")
    assert name in modules
    assert not NOT_IMPORTED[name] & modules
    ours = {module for module in modules if module.split(".")[0] == "voxadapt"}
    assert all(module in FACE or module.startswith(name) for module in ours), ours


def test_import_of_the_package_alone_is_light() -> None:
    modules = modules_after("import voxadapt")
    assert "voxadapt" in modules
    assert not (HEAVY | {"torch", "numpy", "einops"}) & modules
    assert {module for module in modules if module.startswith("voxadapt")} == FACE


def test_adapter_works_where_heavy_packages_are_missing(tmp_path: Path) -> None:
    blocked = sorted(HEAVY)
    code = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
import torch
from voxadapt.adapters import WAPTransformer, WAPTransformerConfig
from voxadapt.adapters import AdapterPretrainer, ObjectivesConfig, fit_codebook

adapter = WAPTransformer(WAPTransformerConfig(input_size=8)).eval()
frames, padding_mask = torch.randn(2, 5, 8), torch.zeros(2, 5, dtype=torch.bool)
output = adapter(frames, padding_mask)
adapter.save_pretrained("adapter")
assert torch.equal(WAPTransformer.from_pretrained("adapter")(frames, padding_mask), output)

sums = AdapterPretrainer(adapter, ObjectivesConfig())(
    frames, padding_mask, torch.ones_like(padding_mask), torch.ones(2)
)
sum(sums.losses.values()).backward()
try:
    fit_codebook(frames[0], 2, seed=0)
except ImportError as error:
    print(error)
"""
    assert "pip install faiss-cpu" in run(code, cwd=tmp_path)
    assert (tmp_path / "adapter" / "model.safetensors").exists()


def sources(folder: str) -> list[Path]:
    specification = importlib.util.find_spec(f"voxadapt.{folder}")
    assert specification is not None
    assert specification.origin is not None
    return sorted(Path(specification.origin).parent.rglob("*.py"))


def imported(node: ast.AST) -> set[str]:
    """Top-level packages that one statement imports; ``.`` and ``..`` stand for relative ones."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {"." * node.level or str(node.module).partition(".")[0]}
    return set()


def at_module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run on import, class bodies included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_module_level(child)


def packages(nodes: Iterator[ast.AST]) -> set[str]:
    found = set().union(*(imported(node) for node in nodes))
    return found - set(sys.stdlib_module_names) - {"."}


@pytest.mark.parametrize("folder", FOLDERS)
def test_sources_import_only_what_the_folder_may(folder: str) -> None:
    files = sources(folder)
    assert len(files) > 3
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        # A relative import of more than one dot, or any of voxadapt, would leave the folder.
        assert packages(at_module_level(tree)) <= AT_MODULE_LEVEL[folder], file.name
        allowed = AT_MODULE_LEVEL[folder] | IN_FUNCTIONS[folder] | {"numpy"}
        assert packages(ast.walk(tree)) <= allowed, file.name


def test_the_scan_sees_what_it_should() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nimport torch.nn\nfrom . import a\nfrom ..b import c\n"
        "if TYPE_CHECKING:\n    import soundfile\n"
        "try:\n    import faiss\nexcept ImportError:\n    pass\n"
        "class A:\n    import peft\n    def f(self):\n        import transformers\n"
    )
    assert packages(at_module_level(tree)) == {"torch", "..", "faiss", "peft"}
    assert packages(ast.walk(tree)) == {"torch", "..", "faiss", "peft", "soundfile", "transformers"}
