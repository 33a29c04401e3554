# SPDX-License-Identifier: Apache-2.0
"""What finished fine-tuning runs have written, read back and checked."""

import filecmp
import json
import os
import shlex
from pathlib import Path
from typing import Any

from voxadapt.adapters.saving import WEIGHTS_FILE
from voxadapt.recipes.running.command_line import UsageError, as_started
from voxadapt.recipes.running.run_folder import read_record

_NEEDED = ("id", "predicted")


def refuse_pretraining(run: str | Path) -> None:
    """Refuse the folder of a pretraining run, or of its adapter, where a classifier is wanted.

    Args:
        run: What the user named: a folder or a hub id.

    Raises:
        UsageError: It is one; the message says what to do with it.
    """
    place = Path(run)
    folder = place.parent if place.name == "adapter" else place
    try:
        record = read_record(folder)
    except OSError:  # whoever reads the model says what is wrong
        return
    if record is None or record["command"] != "pretrain_adapter":
        return
    report = folder / "report.html"
    told = f" What the pretraining did is in {report}." if report.exists() else ""
    raise UsageError(
        f"{run}: is what pretrain_adapter left, an adapter and no classifier; give the folder of a "
        "finished run of finetune. To train one on labelled speech: "
        f"`{as_started('finetune.py')} --adapter {shlex.quote(str(folder))} --data LABELLED.csv`."
        f"{told}"
    )


def read_metrics(run: Path) -> dict[str, Any]:
    """Read ``metrics.json`` of a run, or of several joined.

    Args:
        run: The folder.

    Raises:
        UsageError: It is not there, or damaged.
    """
    path = run / "metrics.json"
    if not path.exists():
        refuse_pretraining(run)
        raise UsageError(
            f"{run}: has no metrics.json, so it is not the folder of a finished run of finetune; "
            "name one, or finish it with --resume"
        )
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); run finetune again") from None
    if not isinstance(metrics, dict):
        raise UsageError(f"{path}: is not what finetune writes; run finetune again")
    return metrics


def read_predictions(run: Path) -> list[dict[str, Any]]:
    """Read the predictions of a run, or of several joined.

    Args:
        run: The folder.

    Returns:
        ``id``, ``label``, ``predicted`` and more of each clip; of a joined run, ``fold`` and
        ``seed`` too.

    Raises:
        UsageError: They are not there, or damaged.
    """
    metrics = read_metrics(run)
    if (run / "predictions.jsonl").exists() or "runs" not in metrics:
        return read_lines(run / "predictions.jsonl")
    return [
        {**record, "fold": entry["fold"], "seed": entry["seed"]}
        for entry in metrics["runs"]
        for record in read_lines(run / entry["folder"] / "predictions.jsonl")
    ]


def run_of_model(run: str | Path) -> Path | None:
    """The folder whose ``splits.json`` is that of a model; None where there is none around it.

    Args:
        run: The folder of the run or of its model, or a hub id. Of several folds and seeds, the
            model of one is copied beside their results, and is found by its weights.
    """
    place = Path(os.path.abspath(run))
    folder = place.parent if place.name == "model" else place
    if (folder / "splits.json").exists():
        return folder
    copied = folder / "model" / WEIGHTS_FILE
    if not copied.exists():
        return None
    for splits in sorted(folder.glob("fold-*/seed-*/splits.json")):
        weights = splits.parent / "model" / WEIGHTS_FILE
        if weights.exists() and filecmp.cmp(copied, weights, shallow=False):
            return splits.parent
    return None


def read_parts(run: str | Path) -> dict[str, list[str]] | None:
    """Read which clips trained, chose and tested the model of a run.

    Args:
        run: The folder of the run or of its model, as `run_of_model` takes it.

    Returns:
        The ids by ``train``, ``valid`` and ``test``; None where no run has written them.

    Raises:
        UsageError: They are damaged.
    """
    folder = run_of_model(run)
    if folder is None:
        return None
    path = folder / "splits.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {name: list(record[name]) for name in ("train", "valid", "test")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: cannot be read ({error!r}); run finetune again") from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of predictions.

    Raises:
        UsageError: It is not there, empty or damaged.
    """
    try:
        # Not `splitlines`, for which some characters inside of a label or an id end a line too.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise UsageError(
            f"{path}: is missing, so it is not known which clips were right; finetune writes it "
            "beside metrics.json. Run it again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); run finetune again") from None
    if lines == [""]:
        raise UsageError(f"{path}: is empty; run finetune again")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            missing = [name for name in _NEEDED if name not in record]
        except (ValueError, TypeError):
            missing = list(_NEEDED)
        if missing:
            raise UsageError(
                f"{path}, line {number}: has no {', '.join(missing)}, so the file is damaged; run "
                "finetune again"
            )
        records.append(record)
    return records
