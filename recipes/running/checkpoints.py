# SPDX-License-Identifier: Apache-2.0
"""Training checkpoints: one file, written aside and renamed, so that it is whole or not there."""

from pathlib import Path
from typing import Any

import torch

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.running.command_line import UsageError

CHECKPOINT_FILE = "checkpoint.pt"


def save_checkpoint(out: Path, state: dict[str, Any]) -> None:
    """Replace the run's checkpoint.

    Args:
        out: The run's folder.
        state: Tensors, numbers, strings, lists and dicts of them.

    Raises:
        UsageError: The disk refuses; the last checkpoint stays as it was.
    """
    path = out / CHECKPOINT_FILE
    try:
        write_aside(path, lambda file: torch.save(state, file))
    # torch reports a full disk as a RuntimeError of its own zip writer
    except (OSError, RuntimeError) as error:
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        kept = "The last good checkpoint stays" if path.exists() else "There was none before"
        raise UsageError(
            f"{path}: cannot be written ({cause}). {kept}; make room in {out} and go on with the "
            "same command and --resume"
        ) from error


def load_checkpoint(out: Path) -> dict[str, Any] | None:
    """Read the run's checkpoint, or None where there is none yet.

    Raises:
        UsageError: The file is damaged.
    """
    path = out / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UsageError(
            f"{path}: cannot be read ({type(error).__name__}: {error}). Remove it to start the run "
            "again from the beginning"
        ) from error
