# SPDX-License-Identifier: Apache-2.0
"""A process of ``sweep_layers`` that runs one fine-tuning after another.

    python -m voxadapt.recipes.sweeping.worker

It reads a run's options from each line of its standard input, as JSON, and answers each with a line
on its standard output, empty if all went well, or with what was wrong. ``sweep_layers`` starts it
and nobody else needs to.
"""

import json
import logging
import os
import queue
import shutil
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from voxadapt.recipes.finetune import run_finetune
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import USER_ERRORS
from voxadapt.recipes.running.run_folder import read_options


def main() -> NoReturn:
    """Work until the standard input ends, and with it this process."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        answers.write(json.dumps(run_task(json.loads(tasks.get()))) + "\n")
        answers.flush()


def _listen(tasks: "queue.SimpleQueue[str]") -> None:
    """Pass tasks on; where the one that gives them is gone, so is the reason to go on."""
    with os.fdopen(os.dup(0), encoding="utf-8") as stream:
        for line in stream:
            tasks.put(line)
    os._exit(0)


def run_task(task: dict[str, Any]) -> str:
    """Run one; returns what was wrong, or nothing.

    Args:
        task: `config`, the options of ``finetune``, and `keep_models`.
    """
    options = read_options(FinetuneOptions, task["config"])
    logging.info("== %s", options.out)
    try:
        finished = run_finetune(options) is not None
    except USER_ERRORS as error:
        logging.error("error: %s", error)
        return str(error)
    except Exception as error:  # one run's fault is no reason to lose the others
        traceback.print_exc(file=sys.stderr)
        return f"{type(error).__name__}: {error}"
    if finished and not task["keep_models"]:
        drop_models(Path(options.out))
    return ""


def drop_models(out: Path) -> None:
    """Remove the models and checkpoints of finished runs; the predictions stay."""
    for folder in [*out.glob("**/model"), *out.glob("**/tensorboard")]:
        shutil.rmtree(folder)
    for file in out.glob("**/checkpoint.pt"):
        file.unlink()


if __name__ == "__main__":
    main()
