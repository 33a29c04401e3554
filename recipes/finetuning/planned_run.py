# SPDX-License-Identifier: Apache-2.0
"""One of the runs that ``finetune --jobs N`` has planned, in a process of its own.

    python -m voxadapt.recipes.finetuning.planned_run RUN NUMBER

The options stand in ``RUN/run.json``; ``finetune`` starts this and nobody else needs to.
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxadapt.recipes.finetune import prepare_runs
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_once import run_once
from voxadapt.recipes.finetuning.run_plan import plan_runs
from voxadapt.recipes.running.command_line import UsageError, leave, run_command
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import read_options, read_record


def run_planned(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Run it; the arguments are the command's folder and the number of the run, from 0."""
    out, number = sys.argv[1:] if argv is None else argv
    record = read_record(Path(out))
    if record is None:
        raise UsageError(f"{out}: holds no run of finetune; this is started by finetune --jobs")
    options = read_options(FinetuneOptions, record["config"])
    accelerator = join_processes(options.precision)
    shared = prepare_runs(options, accelerator, Path(out), adapter=record["adapter"], claim=False)
    plan = plan_runs(shared.corpus.clips, options, Path(out))
    return run_once(shared, plan[int(number)])


def end_with_parent() -> None:
    """End this process when the one that started it is gone, which closes its standard input."""

    def wait() -> None:
        # Not through sys.stdin, whose lock Python would miss when it ends this process itself.
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    leave(run_command(run_planned))
