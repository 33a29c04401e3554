# SPDX-License-Identifier: Apache-2.0
"""Command line and YAML for the recipes: a dataclass in, a checked dataclass out.

A recipe's options are the fields of a dataclass; their help is the ``Args`` section of its
docstring. ``--config FILE.yaml`` sets fields by name, and what stands on the command line overrides
it.
"""

import argparse
import dataclasses
import difflib
import inspect
import io
import logging
import os
import re
import shlex
import sys
import time
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import docstring_parser
import torch
from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from voxadapt.adapters.monitors import CollapseError
from voxadapt.adapters.saving import AdapterFolderError
from voxadapt.backbones import AudioError, BackboneError
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.running.config_file import YAML_VALUE_ERRORS, ConfigFile
from voxadapt.recipes.running.option_groups import build_options

Config = TypeVar("Config")


class UsageError(ValueError):
    """The command cannot run as it was given; the message says what to change."""


# What a user can put right. Anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (UsageError, DataError, AudioError, BackboneError, AdapterFolderError, CollapseError)
# Seconds; `torchrun` looks after its processes every 0.1 s.
OTHERS_WAIT = 3.0


class RecipeHelpFormatter(DefaultHelpFormatter):
    """Help whose paragraphs stay apart, and whose indented ones, as commands, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            part
            if part.startswith(" ")
            else super(RecipeHelpFormatter, self)._fill_text(part, width, indent)
            for part in text.split("\n\n")
        )


class RecipeParser(ArgumentParser):
    """A parser whose errors are one message, with the closest allowed word, and exit code 2.

    Attributes:
        config_class: The dataclass that it fills.
        config_file: The YAML file that is being read; None on the command line.
        from_files: YAML files by the names of the options that they set.
    """

    config_class: type
    config_file: str | None = None
    from_files: dict[str, str]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message and leave with code 2."""
        message = re.sub(r"\s+", " ", message).strip(" .")
        message = re.sub(
            r"Parser key [\"']?([\w.]+)[\"']?( element \d+)?: ?",
            lambda match: f"{flag(match[1])}{match[2] or ''}: ",
            message,
        )
        message = re.sub(
            r"Expected a typing\.Literal\[(.*?)\]\. Got value: (\S+)",
            lambda match: f"found {match[2]!r}, allowed: {match[1]}",
            message,
        )
        message = re.sub(
            r"Expected an? <class '(\w+)'>\. Got value: (.+)", r"found '\2', expected \1", message
        )
        message = re.sub(
            r"Does not validate against any of the Union subtypes Subtypes: \[(.*?)\] .*"
            r"Given value type: <class '(\w+)'> Given value: (.+)",
            lambda match: (
                f"found {match[3]} ({match[2]}), expected "
                + " or ".join(re.findall(r"<class '(?!NoneType)(\w+)'>", match[1]))
                + ("; in YAML, write text in quotes" if "'str'" in match[1] else "")
            ),
            message,
        )
        if not message.endswith("?"):
            message += "." + closest_word(message, self._known_words())
        if self.config_file is not None:
            message = f"--config {self.config_file}: {message}"
        print(f"{self.prog}: error: {message} See {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def _known_words(self) -> list[str]:
        words: list[str] = []
        for action in self._actions:
            words += [option.lstrip("-") for option in action.option_strings]
            words += [str(choice) for choice in getattr(action, "allowed", [])]
        return words


def flag(name: str) -> str:
    """The flag of a field; options inside a group keep their underscores."""
    return "--" + (name if "." in name else name.replace("_", "-"))


def written_out(**options: object) -> str:
    """Options as they are typed, ready for a shell; those that are None are left out."""
    given = {name: str(value) for name, value in options.items() if value is not None}
    return shlex.join(word for name, value in given.items() for word in (flag(name), value))


def closest_word(message: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the first misspelt word that ``message`` names, or nothing."""
    known = list(dict.fromkeys(known))
    leaves = {word.rsplit(".", 1)[-1] for word in known}
    choices = re.findall(r"'([^']+)'", message.partition("allowed:")[2])
    patterns = (
        r"found '([^']*)', allowed",
        r"option '([^']*)'",
        r"Option '([^']*)'",
        r"--([\w.-]+)",
    )
    for pattern in patterns:
        for word in re.findall(pattern, message):
            words, pool = (choices,) * 2 if "allowed" in pattern else (known, [*known, *leaves])
            if word in words:
                continue
            leaf = word.rsplit(".", 1)[-1]
            in_group = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
            close = in_group or difflib.get_close_matches(word, pool, n=1, cutoff=0.45)
            if close:
                return f" Did you mean {close[0]!r}?"
    return ""


def as_started(recipe: str) -> str:
    """The command that started a recipe: ``finetune.py``, or ``voxadapt finetune``."""
    by_name = Path(sys.argv[0]).stem == "voxadapt"
    return f"voxadapt {recipe.removesuffix('.py')}" if by_name else recipe


def example_commands(page: str, prog: str) -> str:
    """The epilog of a recipe's help: the indented paragraphs of its module's docstring.

    Args:
        page: The docstring; its commands run the recipe from a checkout.
        prog: The command as the user types it; what ``voxadapt`` started is shown its commands.

    Returns:
        "Examples:" and the commands; nothing where there are none.
    """
    page = inspect.cleandoc(page)
    found = [part for part in page.split("\n\n") if part.startswith(" ")]
    commands = "\n\n".join(found)
    if prog.startswith("voxadapt "):
        commands = re.sub(r"python recipes/(\w+)\.py", r"voxadapt \1", commands)
        commands = re.sub(r"recipes/(\w+)\.py", r"-m voxadapt.recipes.\1", commands)
    return f"Examples:\n\n{commands}" if commands else ""


def build_parser(
    config_class: type, *, prog: str, positionals: Sequence[str] = (), page: str | None = None
) -> RecipeParser:
    """Build the parser of a dataclass.

    Args:
        config_class: A dataclass whose docstring documents every field. Nested dataclasses become
            dotted options. A ClassVar `aliases` gives further spellings of an option.
        prog: The command as the user types it.
        positionals: Fields given by position instead of by flag.
        page: The docstring of the recipe's module, whose commands the help ends with.
    """
    documentation = docstring_parser.parse(config_class.__doc__ or "")
    helps = {
        entry.arg_name: " ".join((entry.description or "").split())
        for base in reversed(config_class.__mro__)
        for entry in docstring_parser.parse(base.__doc__ or "").params
    }
    description = "\n\n".join(
        part for part in (documentation.short_description, documentation.long_description) if part
    )
    parser = RecipeParser(
        prog=prog,
        description=description,
        epilog=example_commands(page or "", prog),
        formatter_class=RecipeHelpFormatter,
        allow_abbrev=False,
    )
    parser.config_class = config_class
    parser.from_files = {}
    parser.add_argument(
        "--config",
        action=ConfigFile,
        metavar="FILE.yaml",
        help="Options from a YAML file, by name; the command line overrides them.",
    )
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        hint, text = hints[field.name], helps.get(field.name, "")
        if dataclasses.is_dataclass(hint):
            parser.add_class_arguments(hint, field.name)
            continue
        default = (
            field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else field.default
        )
        if field.name in positionals:
            if typing.get_origin(hint) is list:
                item = typing.get_args(hint)[0]
                parser.add_argument(field.name, nargs="+", type=item, help=text)
            elif default is not dataclasses.MISSING:
                # Not `default`: left out, it would override what --config says.
                parser.add_argument(
                    field.name, nargs="?", type=hint, default=argparse.SUPPRESS, help=text
                )
            else:
                parser.add_argument(field.name, type=hint, help=text)
        elif hint is bool:
            yes_or_no = ActionYesNo(no_prefix="no-")
            parser.add_argument(flag(field.name), action=yes_or_no, default=default, help=text)
        elif typing.get_origin(hint) is list:
            parser.add_argument(
                flag(field.name),
                nargs="+",
                type=typing.get_args(hint)[0],
                default=default,
                help=text,
                metavar=field.name.upper(),
            )
        else:
            flags = [flag(field.name), *getattr(config_class, "aliases", {}).get(field.name, [])]
            parser.add_argument(*flags, type=hint, default=default, help=text)
    return parser


def parse(
    config_class: type[Config],
    argv: Sequence[str] | None,
    *,
    prog: str,
    positionals: Sequence[str] = (),
    page: str | None = None,
) -> Config:
    """Read the command line (and ``--config``) into ``config_class``; errors exit with code 2.

    Args:
        config_class: The recipe's options, as `build_parser` takes them.
        argv: The arguments; None takes those of the process.
        prog: The recipe's file name.
        positionals: Fields given by position instead of by flag.
        page: The docstring of the recipe's module, whose commands the help ends with.
    """
    parser = build_parser(config_class, prog=as_started(prog), positionals=positionals, page=page)
    arguments = files_first(sys.argv[1:] if argv is None else argv)
    try:
        parsed = parser.parse_args(arguments)
    except YAML_VALUE_ERRORS as error:  # values on the command line are YAML too
        parser.error(f"a value cannot be read ({error}); in YAML, write text in quotes")
    values = parsed.as_dict()
    values.pop("config", None)
    try:
        refuse_empty(values, positionals)
        return build_options(config_class, values)
    except ValueError as error:
        parser.config_file = file_of_fault(str(error), arguments, parser)
        parser.error(str(error))


def file_of_fault(message: str, arguments: Sequence[str], parser: RecipeParser) -> str | None:
    """The YAML file that set what a message is about; None where the command line did, or nothing.

    Args:
        message: Begins with the flag of an option, or of a group of options.
        arguments: The command line.
        parser: Has read both.
    """
    named = re.match(r"--([\w.-]+)", message)
    if named is None:
        return None
    name = named[1].replace("-", "_")

    def is_meant(option: str) -> bool:
        return option == name or option.startswith(f"{name}.")

    words = {word.partition("=")[0] for word in arguments}
    for action in parser._actions:
        if is_meant(action.dest) and words & set(action.option_strings):
            return None
    return next((file for option, file in parser.from_files.items() if is_meant(option)), None)


def refuse_empty(values: Mapping[str, Any], positionals: Sequence[str] = ()) -> None:
    """Refuse texts that are empty, as ``--out "$OUT"`` is where the shell knows no such name.

    No option means anything by one, and as a path it would be the present folder.

    Args:
        values: Values by the names of the fields.
        positionals: Fields given by position.

    Raises:
        ValueError: Naming the option.
    """
    for name, value in values.items():
        if value == "" or (isinstance(value, list) and "" in value):
            option = name if name in positionals else flag(name)
            raise ValueError(
                f"{option}: found {value!r}, must not be empty; give a value (a variable of the "
                "shell may be unset)"
            )


def files_first(arguments: Sequence[str]) -> list[str]:
    """Put each ``--config FILE`` first: the command line overrides the file wherever it stands."""
    files: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--config":
            files += [word, *[value for value in [next(words, None)] if value is not None]]
        elif word.startswith("--config="):
            files.append(word)
        else:
            others.append(word)
    return files + others


def run_command(
    main: Callable[[Sequence[str] | None], Any], argv: Sequence[str] | None = None
) -> int:
    """Run a recipe's ``main``; what the user can put right is one message and exit code 2."""
    first = os.environ.get("RANK", "0") == "0"
    for stream in (sys.stdout, sys.stderr):
        # A file's name need not be text that the terminal, or UTF-8, can write.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s")
    for noisy in ("httpx", "huggingface_hub", "faiss", "faiss.loader", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        main(argv)
    except USER_ERRORS as error:
        if not first:
            # Where the first process fails too, the launcher ends this one before it repeats it.
            time.sleep(OTHERS_WAIT)
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; a training goes on from its last checkpoint with the same command and "
            "--resume, an extraction with the same command",
            file=sys.stderr,
        )
        return 130
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return 0


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    One of several processes leaves without the interpreter's own clean-up: what gloo and
    DistributedDataParallel leave running makes that abort now and then ("terminate called without
    an active exception"), after all is written, and the launcher would report a failed run.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
