# SPDX-License-Identifier: Apache-2.0
"""A second encoder over the modules of a first, for cutting it between its layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def twin(module: Module, parts: Sequence[str] | None = None) -> Module:
    """Copy a module but not its parts, which both have; the copy can then be given others.

    Args:
        module: The module.
        parts: Names of the parts that the copy has; None for all.
    """
    other = copy.copy(module)
    # copy.copy leaves both with the same dict of parts.
    other._modules = {
        name: part for name, part in module._modules.items() if parts is None or name in parts
    }
    return other
