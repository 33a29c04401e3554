# SPDX-License-Identifier: Apache-2.0
"""``--config FILE.yaml``: its shape is checked by our own words, its values by jsonargparse."""

import argparse
import dataclasses
import difflib
import reprlib
import typing
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile

# What PyYAML's own constructors let through where a value is not what its tag or form says, such as
# `!!int ''` and 2001-99-99, or is nested a thousand deep.
YAML_VALUE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class ConfigFile(ActionConfigFile):
    """Reads a YAML file into a parser that knows its ``config_class``.

    While it does, the parser's ``config_file`` is that file, for the parser's own messages.

    jsonargparse takes nothing for a number, and says of some other mistakes neither in which file
    nor at which option they are.
    """

    def __call__(
        self,
        parser: Any,
        cfg: Any,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Check the file and read its options."""
        try:
            read = read_yaml(Path(values))
            check_options(read, parser.config_class)
        except ValueError as error:
            raise argparse.ArgumentError(None, f"--config {values}: {error}") from error
        parser.from_files |= dict.fromkeys(option_names(read), values)
        parser.config_file = values
        try:
            super().__call__(parser, cfg, values, option_string)
        except YAML_VALUE_ERRORS as error:
            message = f"--config {values}: a value is not what it looks like in YAML ({error})"
            raise argparse.ArgumentError(None, message) from error
        finally:
            parser.config_file = None


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ValueError: It is not there, or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read ({error})") from error
    except (yaml.YAMLError, *YAML_VALUE_ERRORS) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"is not YAML ({said})") from error


def check_options(values: Any, config_class: type, prefix: str = "") -> None:
    """Check that ``values`` has the shape of a dataclass: names, groups, lists, no missing values.

    Raises:
        ValueError: Naming the option, what was found and what is allowed.
    """
    if not isinstance(values, dict):
        where = f"{prefix.rstrip('.')}: " if prefix else ""
        raise ValueError(
            f"{where}found {_short(values)}, must be options, one `name: value` a line"
        )
    hints = typing.get_type_hints(config_class)
    names = [field.name for field in dataclasses.fields(config_class)]
    for name, value in values.items():
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.45)
            hint = f". Did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(names)}"
            raise ValueError(f"there is no option '{prefix}{name}'{hint}")
        wanted = hints[name]
        if dataclasses.is_dataclass(wanted):
            check_options(value, typing.cast(type, wanted), f"{prefix}{name}.")
            continue
        faults = {
            "must be a list, as in `[one, two]`": typing.get_origin(wanted) is list
            and not isinstance(value, list),
            "must be true or false": wanted is bool and not isinstance(value, bool),
            "must have a value, or be left out": value is None
            and type(None) not in typing.get_args(wanted),
        }
        for fault, holds in faults.items():
            if holds:
                raise ValueError(f"{prefix}{name}: found {_short(value)}, {fault}")


def option_names(values: dict[str, Any], prefix: str = "") -> list[str]:
    """The names of a file's options, those of groups dotted: ``masking.ratio``."""
    names = []
    for name, value in values.items():
        if isinstance(value, dict):
            names += option_names(value, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def _short(value: Any) -> str:
    """A value for a message; by anchors, a short file can hold one of any size."""
    limits = reprlib.Repr()
    limits.maxstring = limits.maxother = 80
    limits.maxlevel = 3
    return limits.repr(value)
