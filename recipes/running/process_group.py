# SPDX-License-Identifier: Apache-2.0
"""The processes of a command, one or several, and where they log to, through Accelerate."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from voxadapt.backbones import Precision
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.encoder_precision import usable_precision

# One process may read shards, extract frames or fit a codebook for hours while the others wait for
# it; torch gives up after 10 or 30 minutes.
PATIENCE = timedelta(days=7)


class LateTensorBoard(TensorBoardTracker):
    """Makes its folder with the first value: a run that fails before it leaves none."""

    is_open = False

    def log(self, values: dict[str, Any], step: int | None = None, **options: Any) -> None:
        """Write values by name."""
        if not self.is_open:
            self.start()
            self.is_open = True
        super().log(values, step=step, **options)

    def finish(self) -> None:
        """Close what was opened."""
        if self.is_open:
            super().finish()


def join_processes(precision: Precision = "fp32") -> Accelerator:
    """Join the processes that ``accelerate launch`` or ``torchrun`` started; one is a group too.

    Args:
        precision: ``fp32``, or ``bf16`` for half precision where the machine has it.

    Raises:
        UsageError: The machine does not have that precision.
    """
    # cuDNN's convolutions take TF32 by default, whose rounding depends on the shape of the batch: a
    # clip would no longer give the same frames alone and among others.
    torch.backends.cudnn.allow_tf32 = False
    precision = usable_precision(precision)
    try:
        return Accelerator(
            # Where there is no GPU, Accelerate takes each process for the only one unless it is
            # told that the CPU is meant; all of them would then write into the same folder.
            cpu=not torch.accelerator.is_available(),
            mixed_precision="bf16" if precision == "bf16" else "no",
            kwargs_handlers=[
                DistributedDataParallelKwargs(broadcast_buffers=False),
                InitProcessGroupKwargs(timeout=PATIENCE),
            ],
        )
    except ValueError as error:
        raise UsageError(
            f"--precision {precision}: this machine does not have it ({error}). Use fp32"
        ) from error


def start_log(accelerator: Accelerator, out: Path, *, first_step: int | None = None) -> None:
    """Log to ``out/tensorboard`` from here on; the folder is made with the first value.

    Args:
        accelerator: The process group.
        out: The run's folder.
        first_step: The step that the run goes on from; TensorBoard forgets what an earlier start
            has logged of it and of later ones.
    """
    accelerator.project_configuration.logging_dir = str(out)
    threading.excepthook = _leave_out_disk_errors
    accelerator.trackers.append(LateTensorBoard("tensorboard", out, purge_step=first_step))


def log_values(accelerator: Accelerator, values: dict[str, float], *, step: int) -> None:
    """Log values by name; only the main process does.

    Raises:
        UsageError: The disk refuses.
    """
    with _log_written(accelerator):
        accelerator.log(values, step=step)


def finish_log(accelerator: Accelerator) -> None:
    """Close the log; unlike ``Accelerator.end_training``, the processes stay together.

    Raises:
        UsageError: The disk refuses.
    """
    trackers = list(accelerator.trackers)
    accelerator.trackers.clear()  # the next run has one of its own
    with _log_written(accelerator):
        for tracker in trackers:
            tracker.finish()


def _leave_out_disk_errors(failed: threading.ExceptHookArgs) -> None:
    """What TensorBoard's writing thread meets is raised again where the next value is logged."""
    if not (
        isinstance(failed.exc_value, OSError) and "tensorboard" in type(failed.thread).__module__
    ):
        threading.__excepthook__(failed)


@contextmanager
def _log_written(accelerator: Accelerator) -> Iterator[None]:
    """Turn the disk's refusal into a message; training cannot go on without a log."""
    try:
        yield
    except OSError as error:
        out = accelerator.project_configuration.logging_dir
        raise UsageError(
            f"{out}/tensorboard: cannot be written ({error}). The last checkpoint, if there is one "
            f"in {out} yet, stays; make room there and go on with the same command and --resume"
        ) from error
