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


def reproduction(name: str, metrics: Mapping[str, Any]) -> str:
    """Commands as HTML: the run again, its scores again where a command can say so, and its use.

    Args:
        name: The run's name.
        metrics: ``metrics.json``.
    """
    config = metrics["config"]
    run = str(config.get("out", name))
    commands = [finetune_command(config)]
    # Parts that were drawn, and folds, stand in no `split` column. A label map's lines for other
    # corpora would be refused for this one.
    if str(metrics["protocol"]).startswith("split-column") and not config.get("label_map"):
        commands.append(_score_command(run, config))
    commands.append(f"voxadapt predict {shlex.quote(run)} CLIP.wav")
    return "".join(f'<pre class="command">{text(command)}</pre>' for command in commands)


def _score_command(run: str, config: Mapping[str, Any]) -> str:
    words = ["voxadapt", "score", run, "--data", *map(str, config.get("data") or ["MANIFEST.csv"])]
    words += ["--split", "test"]
    if config.get("label", "label") != "label":
        words += ["--label", str(config["label"])]
    if config.get("allow_outside"):
        words.append("--allow-outside")
    return shlex.join(words)
