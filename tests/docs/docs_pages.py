# SPDX-License-Identifier: Apache-2.0
"""The pages of the site and the README, taken apart: code blocks, commands, inline code."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^( *)```(\S*)([^\n]*)\n(.*?)^\1```", flags=re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# What stands before a recipe and does not belong to it.
_LAUNCHERS = {"accelerate": 2, "torchrun": 1, "srun": 1}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: The file.
        line: The line of its first line of text, from 1.
        language: What stands after the fence; empty for what a program has written.
        title: The name of the file that it is, where the fence has one.
        text: What is in it, without the indentation of the fence.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        """Page and line, for messages and names of tests."""
        return f"{name_of(self.page)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A line that one is to type.

    Attributes:
        place: Page and line.
        words: As a shell would take them apart; without variables set in front.
    """

    place: str
    words: tuple[str, ...]

    def recipe(self) -> tuple[str, list[str]] | None:
        """Name and arguments of the recipe that is started, whatever launches it."""
        words = list(self.words)
        if words and words[0] in _LAUNCHERS:
            rest = words[_LAUNCHERS[words[0]] :]
            starts = [n for n, word in enumerate(rest) if word.startswith("recipes/")]
            words = ["python", *rest[starts[0] :]] if starts else words
        if words[:1] == ["python"] and len(words) > 1 and words[1].startswith("recipes/"):
            return Path(words[1]).stem, [word for word in words[2:] if word != "…"]
        program = words[0].removeprefix(".venv/bin/") if words else ""
        if program == "voxadapt" and len(words) > 1 and not words[1].startswith("-"):
            return words[1].replace("-", "_"), [word for word in words[2:] if word != "…"]
        return None


def name_of(page: Path) -> str:
    """The path of a page inside the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in order; of these languages, or all."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent, language, options, inside = match.groups()
        title = re.search(r'title="([^"]+)"', options)
        lines = [line.removeprefix(indent) for line in inside.splitlines()]
        first = text.count("\n", 0, match.start()) + 2
        name = title[1] if title else ""
        found.append(Block(page, first, language, name, "\n".join(lines) + "\n"))
    return [block for block in found if not languages or block.language in languages]


def commands_in(block: Block) -> Iterator[Command]:
    """The commands of a block of shell lines; continued lines are joined, comments left out."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            yield Command(block.place, tuple(words))


def page_commands(page: Path) -> list[Command]:
    """All commands of a page's shell blocks, in order."""
    return [command for block in blocks(page, "bash") for command in commands_in(block)]


def inline_commands(page: Path) -> list[Command]:
    """Recipes that are started in the middle of a sentence or in a table."""
    found = []
    for code in inline_code(page):
        try:
            command = Command(name_of(page), tuple(shlex.split(code)))
        except ValueError:  # an apostrophe, for one: no command
            continue
        started = command.recipe()
        if not started or started[0] in ("X", "x") or not started[0].islower():
            continue  # X stands for any
        # `voxadapt timeline --format json` speaks of an option, and is nothing to type.
        if started[1] and not (command.words[0] == "voxadapt" and started[1][0].startswith("-")):
            found.append(command)
    return found


def inline_code(page: Path) -> list[str]:
    """What stands between single backticks, outside of blocks."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return _INLINE.findall(text)
