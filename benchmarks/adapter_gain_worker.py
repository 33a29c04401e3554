# SPDX-License-Identifier: Apache-2.0
"""Runs of the recipes for `adapter_gain.py`: one at a time, in a process that does many.

Started as a script it reads tasks from its input, a line of JSON each, and answers each with one.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Task = dict[str, Any]
"""A run: `name`, `recipe`, `argv`, `out` (a folder), `result` and `log` (files beside it), `about`
(goes into the result), `keep` (leave models and checkpoints on the disk); and for scoring the whole
validation part: `valid` (its manifest), `features`, `precision`."""

HEAVY = ("model", "checkpoint.pt", "report.html", "tensorboard")
KEPT = [
    *("ua", "wa", "macro_f1", "labels", "confusion", "n", "seed", "best_epoch", "protocol"),
    *("split_sizes", "split_fingerprint", "speaker_overlap", "notes", "parameters_trained"),
]
"""What a result keeps of the run's metrics."""

_PARENT_SECONDS = 1.0


def do_task(task: Task) -> dict[str, Any]:
    """Run a recipe, or go on with a run that was interrupted, and write its result.

    A run that another process is at is waited for, and its result taken.

    Returns:
        The result, as it is in the file; `status` is `finished`, or `collapsed` where pretraining
        was stopped by its monitors or by a loss that is not finite.
    """
    out, path = Path(task["out"]), Path(task["result"])
    with only_one(Path(task["log"])):
        if path.exists():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        from voxadapt.adapters import CollapseError
        from voxadapt.recipes.pretraining.state import NotFiniteError
        from voxadapt.recipes.running.run_folder import write_json

        started, resumed = time.perf_counter(), out.exists()
        run = {"finetune": finetune, "pretrain_adapter": pretrain}[task["recipe"]]
        try:
            result = {"status": "finished", **run(task)}
        except (CollapseError, NotFiniteError) as error:
            result = {"status": "collapsed", "message": str(error)}
        # A run that was gone on with took longer than this, so estimates leave it out.
        result |= {"seconds": round(time.perf_counter() - started, 1), "resumed": resumed}
        result |= task["about"]
        write_json(path, result)
        if not task["keep"]:
            remove_heavy(out, ("checkpoint.pt",) if task["recipe"] != "finetune" else HEAVY)
        return result


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Wait until no other process holds this file."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pretrain(task: Task) -> dict[str, Any]:
    """Pretrain an adapter."""
    from voxadapt.recipes.pretrain_adapter import main

    main(task["argv"])
    log = Path(task["out"]) / "log.json"
    entries = json.loads(log.read_text(encoding="utf-8"))
    return {
        "last_logged": {name: value for entry in entries[-20:] for name, value in entry.items()}
    }


def finetune(task: Task) -> dict[str, Any]:
    """Fine-tune and test, and score the whole validation part where the run had a share of it."""
    from voxadapt.recipes.finetune import main

    metrics = main(task["argv"])
    if metrics is None:
        raise RuntimeError("the run ended early; leave out --max-epochs")
    return {
        **{name: metrics[name] for name in KEPT},
        "valid_share": metrics["valid"]["ua"],
        "valid": score_valid(task),
    }


def score_valid(task: Task) -> dict[str, Any]:
    """Scores of the saved model on the whole validation part, whatever share chose the epoch."""
    import numpy as np

    from voxadapt.classifier import SpeechClassifier
    from voxadapt.recipes.corpora.feature_cache import extract_features
    from voxadapt.recipes.corpora.manifest import read_manifest
    from voxadapt.recipes.running.process_group import join_processes
    from voxadapt.recipes.scoring.evaluation import classify_clips
    from voxadapt.recipes.scoring.metrics import classification_metrics

    accelerator = join_processes(task["precision"])
    model = SpeechClassifier.from_pretrained(Path(task["out"]) / "model")
    clips = read_manifest(task["valid"], require_label=True, allow_outside=True).clips
    clips = [clip for clip in clips if clip.split == "valid"]
    store, _, _ = extract_features(clips, model.backbone, Path(task["features"]), progress=False)
    classifier = model.frame_classifier.to(accelerator.device)
    budget = round(60 * model.backbone.spec.frame_rate)
    rows = range(len(clips))
    probabilities = classify_clips(classifier, store, rows, accelerator, budget=budget)
    true = np.array([model.labels.index(str(clip.label)) for clip in clips])
    scores = classification_metrics(model.labels, true, probabilities.argmax(axis=1))
    return {name: scores[name] for name in ("ua", "wa", "macro_f1", "n")}


def remove_heavy(out: Path, names: tuple[str, ...]) -> None:
    """Remove what a finished run has no more use for: about 40 MB a run."""
    for path in (out / name for name in names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def main() -> None:
    """Answer tasks until the input ends."""
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for line in sys.stdin:
        task = json.loads(line)
        Path(task["log"]).parent.mkdir(parents=True, exist_ok=True)
        with open(task["log"], "ab") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        try:
            answer: dict[str, Any] = {"result": do_task(task)}
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stderr.flush()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _leave_with_parent(parent: int) -> None:
    """End where the process that gives the tasks has died, so that none is run twice at once."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
