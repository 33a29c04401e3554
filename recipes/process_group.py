# SPDX-License-Identifier: Apache-2.0
"""The processes of a command, one or several, and where they log to, through Accelerate."""

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from voxadapt.recipes.command_line import UsageError


def join_processes(precision: str = "fp32") -> Accelerator:
    """Join the processes that ``accelerate launch`` or ``torchrun`` started; one is a group too.

    Args:
        precision: ``fp32``, or ``bf16`` for half precision.

    Raises:
        UsageError: The machine does not have that precision.
    """
    # cuDNN's convolutions take TF32 by default, whose rounding depends on the shape of the batch: a
    # clip would no longer give the same frames alone and among others.
    torch.backends.cudnn.allow_tf32 = False
    try:
        return Accelerator(
            # Where there is no GPU, Accelerate takes each process for the only one unless it is
            # told that the CPU is meant; all of them would then write into the same folder.
            cpu=not torch.accelerator.is_available(),
            mixed_precision="bf16" if precision == "bf16" else "no",
            log_with="tensorboard",
            project_dir=".",  # the tracker wants one; start_log says where it really is
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
    except ValueError as error:
        raise UsageError(
            f"--precision {precision}: this machine does not have it ({error}). Use fp32"
        ) from error


def start_log(accelerator: Accelerator, out: Path) -> None:
    """Log to ``out/tensorboard`` from here on."""
    accelerator.project_configuration.logging_dir = str(out)
    accelerator.init_trackers("tensorboard")


def finish_log(accelerator: Accelerator) -> None:
    """Close the log; unlike ``Accelerator.end_training``, the processes stay together."""
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.trackers.clear()  # Accelerate would start them again with the next log
