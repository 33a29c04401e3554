# SPDX-License-Identifier: Apache-2.0
"""Where a recipe of one process computes, by ``--device``."""

import torch

from voxadapt.recipes.running.command_line import UsageError


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes an accelerator if there is one.

    Raises:
        UsageError: It is no device, or this machine has none of it.
    """
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return here or torch.device("cpu")
    allowed = ", ".join(["auto", "cpu", *([here.type] if here else [])])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: is no device; allowed here: {allowed}") from error
    known = 0 if here is None or here.type != device.type else torch.accelerator.device_count()
    if device.type != "cpu" and (device.index or 0) >= known:
        raise UsageError(f"--device {name}: this machine has none; allowed here: {allowed}")
    return device
