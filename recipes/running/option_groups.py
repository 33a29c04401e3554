# SPDX-License-Identifier: Apache-2.0
"""Dataclasses of options out of values; what is wrong inside a group is named in full."""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

Config = TypeVar("Config")


def build_options(config_class: type[Config], values: dict[str, Any], group: str = "") -> Config:
    """Make a dataclass out of values, its groups first.

    Args:
        config_class: The dataclass.
        values: A value for each field; of a group, a dictionary.
        group: What options of this dataclass are called before the dot, where it is a group.

    Raises:
        ValueError: A value is out of range; the options of a group are named in full.
    """
    hints = typing.get_type_hints(config_class)
    made = {
        name: build_options(hints[name], value, f"{group}.{name}".lstrip("."))
        if dataclasses.is_dataclass(hints[name])
        else value
        for name, value in values.items()
    }
    try:
        return config_class(**made)
    except ValueError as error:
        if not group:
            raise
        raise ValueError(name_in_full(str(error), group, values)) from None


def name_in_full(message: str, group: str, names: Iterable[str]) -> str:
    """What a group's dataclass says, which begins with a field's own name, with the option's."""
    name, _, rest = message.removeprefix(f"{group}.").partition(":")
    if name == group:
        return f"--{group}:{rest}"
    return f"--{group}.{name}:{rest}" if name in names else f"--{group}: {message}"
