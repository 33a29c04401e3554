# SPDX-License-Identifier: Apache-2.0
"""Every YAML loads through its recipe, and every option is read by something."""

import ast
import dataclasses
import importlib
import typing
from collections.abc import Iterator
from pathlib import Path

import docstring_parser
import pytest

import voxadapt
from voxadapt.recipes.running.command_line import parse

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "recipes" / "configs"
FILES = sorted(path for ending in ("yaml", "yml") for path in CONFIGS.rglob(f"*.{ending}"))
# A file belongs to the recipe that its name starts with.
RECIPES = {
    "extract_features": "voxadapt.recipes.extract_features.ExtractOptions",
    "pretrain_adapter": "voxadapt.recipes.pretraining.options.PretrainOptions",
    "finetune": "voxadapt.recipes.finetuning.options.FinetuneOptions",
    "merge": "voxadapt.recipes.merge.MergeOptions",
    "score": "voxadapt.recipes.score.ScoreOptions",
    "predict": "voxadapt.recipes.predict.PredictOptions",
    "demo": "voxadapt.recipes.demo.DemoOptions",
    "report": "voxadapt.recipes.report.ReportOptions",
    "sweep_layers": "voxadapt.recipes.sweeping.options.SweepOptions",
    "compare": "voxadapt.recipes.compare.CompareOptions",
    "cross_corpus": "voxadapt.recipes.cross_corpus.CrossCorpusOptions",
}


def options_of(recipe: str) -> type:
    module, _, name = RECIPES[recipe].rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_there_are_configs() -> None:
    assert {path.stem for path in FILES} >= {"finetune", "pretrain_adapter"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_loads_through_its_recipe(path: Path) -> None:
    owners = [name for name in RECIPES if path.stem == name or path.stem.startswith(f"{name}_")]
    assert len(owners) == 1, f"{path.name}: its name must start with one of {list(RECIPES)}"
    options = options_of(owners[0])
    parsed = parse(options, ["--config", str(path)], prog=owners[0])
    assert isinstance(parsed, options)

    text = path.read_text(encoding="utf-8")
    opening = text.split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    command = f"recipes/{owners[0]}.py"
    config = f"--config recipes/configs/{path.relative_to(CONFIGS)}"
    assert command in opening, "it opens with the command that runs it"
    assert config in opening, "it opens with the command that runs it"


def test_what_says_that_it_is_the_defaults_is() -> None:
    for path in FILES:
        if "These are the defaults" in path.read_text(encoding="utf-8"):
            options = options_of(path.stem)
            parsed = parse(options, ["--config", str(path)], prog="x")
            assert parsed == options(), path.name


def test_the_unaugmented_config_turns_every_change_of_frames_off_and_nothing_else() -> None:
    options = options_of("pretrain_adapter")
    path = CONFIGS / "pretrain_adapter_unaugmented.yaml"
    parsed = parse(options, ["--config", str(path)], prog="x")
    group = type(parsed.frame_augment)
    off = group(**{field.name: 0.0 for field in dataclasses.fields(group)})
    assert parsed == dataclasses.replace(options(), frame_augment=off)


def test_the_config_with_prosody_turns_it_on_and_nothing_else() -> None:
    options = options_of("pretrain_adapter")
    path = CONFIGS / "pretrain_adapter_prosody.yaml"
    parsed = parse(options, ["--config", str(path)], prog="x")
    objectives = dataclasses.replace(options().objectives, prosody=4.0, hidden_prosody=4.0)
    assert parsed == dataclasses.replace(options(), objectives=objectives)


def is_group(hint: object) -> bool:
    return dataclasses.is_dataclass(hint)


def option_classes(kind: type, seen: dict[str, type] | None = None) -> dict[str, type]:
    """An options class and the groups inside it, by name."""
    seen = {} if seen is None else seen
    seen[kind.__name__] = kind
    for hint in typing.get_type_hints(kind).values():
        if is_group(hint):
            option_classes(typing.cast(type, hint), seen)
    return seen


def attributes_read(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, str]]:
    """Names of the attributes that a module reads, each with the class that it is read in."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.ClassDef) else inside
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr, inside
        # `getattr(options.head, name) for name in ("heads", ...)`, outside of any definition
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not inside:
            yield node.value, inside
        yield from attributes_read(node, inner)


def test_every_option_is_read_outside_its_definition() -> None:
    reads: set[tuple[str, str]] = set()
    for folder in ("adapters", "backbones", "pooling", "recipes", "voxadapt"):
        for path in (ROOT / folder).rglob("*.py"):
            reads |= set(attributes_read(ast.parse(path.read_text(encoding="utf-8"))))
    classes: dict[str, type] = {}
    for recipe in RECIPES:
        option_classes(options_of(recipe), classes)
    assert len(classes) > 10
    unread = [
        f"{name}.{field.name}"
        for name, kind in classes.items()
        for field in dataclasses.fields(kind)
        if not any(read == field.name and where not in classes for read, where in reads)
    ]
    assert unread == []


def test_an_option_that_nobody_reads_would_be_found() -> None:
    source = """
class Options:
    used: int = 0
    unused: int = 0
    def __post_init__(self):
        print(self.unused)
def run(options):
    options.unused = options.used
"""
    reads = set(attributes_read(ast.parse(source)))
    assert ("used", "") in reads
    assert ("unused", "Options") in reads
    assert ("unused", "") not in reads


def test_every_field_is_documented() -> None:
    for recipe in RECIPES:
        for kind in option_classes(options_of(recipe)).values():
            documented = {
                entry.arg_name
                for base in kind.__mro__
                for entry in docstring_parser.parse(base.__doc__ or "").params
            }
            groups = {name for name, hint in typing.get_type_hints(kind).items() if is_group(hint)}
            assert {field.name for field in dataclasses.fields(kind)} - groups <= documented, kind
            assert kind.__doc__


def test_configs_are_in_the_package() -> None:
    packaged = Path(importlib.import_module("voxadapt.recipes.configs").__path__[0])
    assert {path.name for path in packaged.glob("*.yaml")} == {path.name for path in FILES}
    assert voxadapt.__version__
