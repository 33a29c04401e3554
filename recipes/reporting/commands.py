# SPDX-License-Identifier: Apache-2.0
"""The commands that made a run, and that use it, for its report."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.reporting.page import text
from voxadapt.recipes.running.command_line import flag
from voxadapt.recipes.running.run_folder import flatten

# How a run was interrupted is no part of what it computed.
_NOT_TOLD = {"resume", "max_epochs", "jobs"}


def finetune_command(config: Mapping[str, Any]) -> str:
    """``voxadapt finetune`` with the options that differ from their defaults.

    Args:
        config: ``config`` of ``metrics.json``, perhaps of an older version.
    """
    return command_of("finetune", config, dataclasses.asdict(FinetuneOptions()))


def command_of(recipe: str, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """A recipe's command with the options that differ from their defaults, ready for a shell."""
    before = flatten(dict(defaults))
    words = ["voxadapt", recipe]
    for name, value in flatten(dict(config)).items():
        if name in _NOT_TOLD or (name in before and before[name] == value) or value is None:
            continue
        words += _option(name, value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else flag(f"no-{name}")]
    if isinstance(value, list):
        return [flag(name), *map(str, value)] if value else []
    return [flag(name), str(value)]


def reproduction(name: str, config: Mapping[str, Any]) -> str:
    """Commands as HTML: the run again, its scores again, and its use."""
    data = " ".join(map(shlex.quote, map(str, config.get("data") or []))) or "MANIFEST.csv"
    run = shlex.quote(str(config.get("out", name)))
    commands = [
        finetune_command(config),
        f"voxadapt score {run} --data {data} --split test",
        f"voxadapt predict {run} CLIP.wav",
    ]
    return "".join(f'<pre class="command">{text(command)}</pre>' for command in commands)
