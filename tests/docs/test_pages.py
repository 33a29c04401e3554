# SPDX-License-Identifier: Apache-2.0
"""What the pages say is there: commands and their options, files, targets, extras, citation."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import docs_pages as pages
import pytest
import yaml

from voxadapt.cli import COMMANDS
from voxadapt.recipes.running.command_line import example_commands

ROOT = pages.ROOT
# Options of programs that are not ours.
OTHERS = {
    "--config_file", "--export", "--gpus-per-node", "--local-dir", "--logdir", "--machine_rank",
    "--main_process_ip", "--main_process_port", "--multi_gpu", "--nproc_per_node", "--num_machines",
    "--num_processes", "--slow", "--standalone", "--strict",
}  # fmt: skip
# Names of paths in the repository, in inline code; what a run leaves is none of them.
_PATH = re.compile(
    r"(?:adapters|backbones|pooling|recipes|voxadapt|tests|benchmarks|docs|examples|\.github)/"
    r"[\w./-]*\w/?"
)
_MADE_UP = {
    "backbones/x.py",
    "recipes/x.py",
    "recipes/X.py",
    "adapters/x.py",
    "tests/adapters/test_x.py",
}


def help_commands() -> Iterator[pages.Command]:
    """The examples that each recipe's help ends with, in both ways of starting it."""
    for name in COMMANDS:
        path = ROOT / "recipes" / f"{name}.py"
        page = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False)
        for prog in (path.name, f"voxadapt {name}"):
            text = example_commands(page or "", prog)
            yield from pages.commands_in(pages.Block(path, 1, "bash", "", text))


def recipe_commands() -> Iterator[pages.Command]:
    for page in pages.PAGES:
        yield from filter(pages.Command.recipe, pages.page_commands(page))
        yield from filter(pages.Command.recipe, pages.inline_commands(page))
    yield from filter(pages.Command.recipe, help_commands())


def test_every_recipe_has_an_example_in_its_help() -> None:
    started = [recipe for recipe in map(pages.Command.recipe, help_commands()) if recipe]
    assert {name for name, _ in started} == set(COMMANDS)


def name_test(command: pages.Command) -> str:
    return f"{command.place}-{' '.join(command.words)[:60]}"


@pytest.mark.parametrize("command", list(recipe_commands()), ids=name_test)
def test_a_command_parses(command: pages.Command, monkeypatch: pytest.MonkeyPatch) -> None:
    started = command.recipe()
    assert started is not None
    name, arguments = started
    assert name in COMMANDS, f"{command.place}: there is no command {name}"
    if arguments == ["--help"]:
        return
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


def script_commands(page: Path) -> list[pages.Command]:
    commands = [*pages.page_commands(page), *inline_scripts(page)]
    return [
        command for command in commands if command.words[0] == "python" and not command.recipe()
    ]


def inline_scripts(page: Path) -> list[pages.Command]:
    starts = [code for code in pages.inline_code(page) if code.startswith("python benchmarks/")]
    return [pages.Command(pages.name_of(page), tuple(code.split())) for code in starts]


def script_source(command: pages.Command) -> str:
    """The script with the files that it is made of: their names begin as its own does."""
    script = ROOT / command.words[1]
    assert script.is_file(), f"{command.place}: there is no {command.words[1]}"
    family = script.parent.glob(f"{script.stem}*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in family)


SCRIPTS = [command for page in pages.PAGES for command in script_commands(page)]


@pytest.mark.parametrize("command", SCRIPTS, ids=name_test)
def test_a_script_is_there_and_has_the_options(command: pages.Command) -> None:
    source = script_source(command)
    for word in command.words[2:]:
        if word.startswith("--"):
            option = word.partition("=")[0]
            assert f'"{option}"' in source, f"{command.place}: {command.words[1]} has no {option}"


def all_options() -> set[str]:
    """Every option of every recipe: what stands at the beginning of a line of its help."""
    import contextlib
    import io

    found = set()
    for name in COMMANDS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
            importlib.import_module(f"voxadapt.recipes.{name}").main(["--help"])
        found |= set(re.findall(r"--[a-z][\w.-]*", out.getvalue()))
    return found


def test_options_that_pages_speak_of_exist() -> None:
    known = all_options() | OTHERS
    wrong = []
    for page in pages.PAGES:
        of_scripts = {
            option
            for command in script_commands(page)
            for option in re.findall(r'"(--[a-z-]+)"', script_source(command))
        }
        for code in pages.inline_code(page):
            if code.startswith(("python ", "pip ", "sbatch ", "make ", "pytest ")):
                continue  # checked with their scripts
            for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", code):
                name = option.rstrip(".")
                # `--size.…` stands for the options of a group.
                group = option != name and any(other.startswith(option) for other in known)
                if name not in known | of_scripts and not group:
                    wrong.append(f"{pages.name_of(page)}: {option} in `{code}`")
    assert not wrong, "\n".join(wrong)


def test_paths_that_pages_speak_of_exist() -> None:
    wrong = []
    for page in pages.PAGES:
        codes = pages.inline_code(page)
        words = [word for code in codes for word in code.split()]
        words += [word for command in pages.page_commands(page) for word in command.words]
        for word in words:
            match = _PATH.fullmatch(word.rstrip(":,"))
            if match and match[0] not in _MADE_UP and not (ROOT / match[0]).exists():
                wrong.append(f"{pages.name_of(page)}: {match[0]}")
    assert not wrong, "\n".join(wrong)


def test_yaml_and_python_of_the_pages_is_well_formed() -> None:
    for page in pages.PAGES:
        for block in pages.blocks(page, "yaml"):
            assert isinstance(yaml.safe_load(block.text), dict), block.place
        for block in pages.blocks(page, "python"):
            compile(block.text, block.place, "exec")


def test_make_targets_and_extras_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    seen = set()
    for page in pages.PAGES:
        text = page.read_text(encoding="utf-8")
        targets = [c.words[1] for c in pages.page_commands(page) if c.words[0] == "make"]
        targets += re.findall(r"`make (\w+)", text)
        for target in targets:
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), (page, target)
            seen.add(target)
        for extra in re.findall(r"(?:voxadapt|\.)\[([a-z]+)\]", text):
            assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), (page, extra)
    assert {"demo", "test", "docs"} <= seen


def test_the_citation_and_the_templates_are_well_formed() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= citation.keys()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{citation["version"]}"' in project
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= template.keys(), path.name
        fields = [part["id"] for part in template["body"]]
        assert len(fields) == len(set(fields)), path.name


def test_functions_of_the_papers_page_exist() -> None:
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]*)\|$", page, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([A-Za-z_]+)(?:\.\w+)?`", row[2])}
    folders = ("adapters", "backbones", "pooling", "recipes")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    source = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    recipes = set(COMMANDS)
    assert len(named) > 12
    missing = [
        name
        for name in named
        if name not in recipes and not re.search(rf"^(?:def|class) {name}\b", source, flags=re.M)
    ]
    assert not missing
