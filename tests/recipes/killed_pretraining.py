# SPDX-License-Identifier: Apache-2.0
"""``pretrain_adapter`` that kills itself at a chosen moment; for several processes, by its path.

    python killed_pretraining.py MOMENT NUMBER OPTIONS...

The moments are where a crash could do harm: between the writing of a file and its renaming, between
what a step changes first and last, around a fit of the codebook, at the end of an epoch.
"""

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from voxadapt.adapters import AdapterPretrainer, WAPTransformer
from voxadapt.recipes import pretrain_adapter
from voxadapt.recipes.pretraining import codebook_refits
from voxadapt.recipes.pretraining import report as pretraining_report
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.running.command_line import leave, run_command

Strike = Callable[[], None]


def arm(moment: str, number: int) -> None:
    """From here on this process gets SIGKILL when ``moment`` comes for the ``number``-th time."""
    seen = 0

    def strike() -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    MOMENTS[moment](strike)


def in_a_checkpoints_write(strike: Strike) -> None:
    save = torch.save

    def save_in_halves(state: Any, file: Any) -> None:
        whole = io.BytesIO()
        save(state, whole)
        content = whole.getvalue()
        file.write(content[: len(content) // 2])
        file.flush()
        strike()
        file.write(content[len(content) // 2 :])

    torch.save = save_in_halves


def around(owner: Any, name: str, strike: Strike, *, first: bool, when: Any = None) -> None:
    """Strike before or after a function, where ``when`` holds of its arguments."""
    function = getattr(owner, name)

    def armed(*arguments: Any, **options: Any) -> Any:
        now = when is None or when(*arguments)
        if now and first:
            strike()
        result = function(*arguments, **options)
        if now and not first:
            strike()
        return result

    setattr(owner, name, armed)


def of_checkpoint(aside: Path, target: Any) -> bool:
    return Path(target).name == "checkpoint.pt"


def of_adapter(aside: Path, target: Any) -> bool:
    return Path(target).name == "adapter"


def at_an_epochs_end(run: PretrainingRun) -> bool:
    return run.progress.batch == 0 and run.progress.epoch > 0


def after_a_fit(strike: Strike) -> None:
    refit = pretrain_adapter.refit_codebook

    def refit_and_strike(run: PretrainingRun, share: float) -> dict[str, float]:
        fits = run.progress.fits
        fitted = refit(run, share)
        if run.progress.fits > fits:
            strike()
        return fitted

    pretrain_adapter.refit_codebook = refit_and_strike


def at(owner: Any, name: str, *, first: bool, when: Any = None) -> Callable[[Strike], None]:
    return lambda strike: around(owner, name, strike, first=first, when=when)


MOMENTS: dict[str, Callable[[Strike], None]] = {
    "in a checkpoint's write": in_a_checkpoints_write,
    "before a checkpoint's rename": at(Path, "replace", first=True, when=of_checkpoint),
    "after a checkpoint's rename": at(Path, "replace", first=False, when=of_checkpoint),
    "in a fit": at(codebook_refits, "fit_codebook", first=False),
    "after a fit": after_a_fit,
    "before the teacher follows": at(AdapterPretrainer, "update_teacher", first=True),
    "before the centers follow": at(AdapterPretrainer, "update_centers", first=True),
    "after a step": at(pretrain_adapter, "train_step", first=False),
    "before an epoch's checkpoint": at(PretrainingRun, "save", first=True, when=at_an_epochs_end),
    "after an epoch's checkpoint": at(PretrainingRun, "save", first=False, when=at_an_epochs_end),
    "before the report": at(pretraining_report, "write_aside", first=True),
    "in the adapter's folder": at(WAPTransformer, "save_pretrained", first=False),
    "before the adapter's rename": at(Path, "rename", first=True, when=of_adapter),
    "after the adapter's rename": at(Path, "rename", first=False, when=of_adapter),
}


if __name__ == "__main__":
    moment, number, *options = sys.argv[1:]
    if os.environ.get("RANK", "0") == "0":
        arm(moment, int(number))
    leave(run_command(pretrain_adapter.main, options))
