# SPDX-License-Identifier: Apache-2.0
"""Scores of what a model says, whether labels of one or several columns, or values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.finetuning.epoch_choice import standard_error
from voxadapt.recipes.finetuning.label_columns import column_text, column_values
from voxadapt.recipes.finetuning.labelled_frames import UNKNOWN
from voxadapt.recipes.scoring import metrics, regression_metrics
from voxadapt.recipes.scoring.part_scores import score_part

REGRESSION = "regression"


def score_names(results: Mapping[str, Any]) -> tuple[str, ...]:
    """The headline scores of a run's ``metrics.json``: of labels, or of values."""
    if results.get("task") == REGRESSION:
        return regression_metrics.SCORES
    return ("ua", "wa", "macro_f1")


def selection_score(results: Mapping[str, Any]) -> str:
    """Name of the score in ``metrics.json`` by which epochs and runs are chosen."""
    return score_names(results)[0]


def show_scores(results: Mapping[str, Any]) -> str:
    """The headline scores in a line of the log: of labels in percent."""
    if results.get("task") == REGRESSION:
        titles = {"ccc": "CCC", "pearson": "Pearson", "mae": "MAE"}
        known = {name: results[name] for name in titles if results[name] is not None}
        return ", ".join(f"{titles[name]} {value:.3f}" for name, value in known.items())
    titles = {"ua": "UA", "wa": "WA", "macro_f1": "macro-F1"}
    return ", ".join(f"{title} {100 * results[name]:.2f}" for name, title in titles.items())


def describe_outputs(outputs: Outputs) -> str:
    """What a model is to say, for the log."""
    if isinstance(outputs, ValueOutputs):
        return f"values of {', '.join(outputs.names)}"
    if len(outputs.columns) == 1:
        return f"classes: {', '.join(outputs.labels)}"
    return "; ".join(f"{len(labels)} classes of {name}" for name, labels in outputs.columns.items())


def selection_name(outputs: Outputs) -> str:
    """Name of the score on the validation part by which the epoch is chosen."""
    return "ua" if isinstance(outputs, LabelOutputs) else "ccc"


def validation_scores(
    outputs: Outputs, targets: np.ndarray, activated: np.ndarray
) -> dict[str, float]:
    """What the log and the history hold of a validation part.

    Args:
        outputs: What the model says.
        targets: ``[N, columns]``, as `LabelledFrames` has them.
        activated: ``[N, O]`` float, probabilities or values.

    Returns:
        By name: loss, scores and the standard error of the one that selection looks at. Scores of
        label columns after the first have the column in their name, and are left out where the part
        has no label that train knows.
    """
    if isinstance(outputs, ValueOutputs):
        found = regression_metrics.regression_metrics(outputs.names, targets, activated)
        # Of a model that says one value for all clips there is no correlation.
        scores = {f"valid_{name}": found[name] or 0.0 for name in regression_metrics.SCORES}
        error = regression_metrics.concordance_error(targets, activated)
        return {"valid_loss": 1.0 - found["ccc"], **scores, "valid_ccc_error": error}
    entry: dict[str, float] = {}
    for number, (name, true, probabilities) in enumerate(by_column(outputs, targets, activated)):
        if not len(true):
            continue
        prefix = "valid" if number == 0 else f"valid_{name}"
        labels = outputs.columns[name]
        found = metrics.classification_metrics(labels, true, probabilities.argmax(axis=1))
        picked = probabilities[np.arange(len(true)), true]
        entry |= {
            f"{prefix}_loss": float(-np.log(np.maximum(picked, 1e-12)).mean()),
            **{f"{prefix}_{score}": found[score] for score in ("ua", "wa", "macro_f1")},
            f"{prefix}_ua_error": standard_error(np.array(found["confusion"])),
        }
    return entry


def score_outputs(
    outputs: Outputs,
    targets: np.ndarray,
    activated: np.ndarray,
    speakers: Sequence[str | None],
    seconds: Sequence[float],
) -> dict[str, Any]:
    """What ``metrics.json`` holds of a scored part.

    Args:
        outputs: What the model says.
        targets: ``[N, columns]``, as `LabelledFrames` has them.
        activated: ``[N, O]`` float, probabilities or values.
        speakers: Speaker of each clip, None where unknown.
        seconds: Length of each clip.

    Returns:
        Of labels, what `score_part` gives of the first column; with several columns, that of each
        in ``by_column``, None where the part has no label that train knows. Of values, ``task``,
        ``dimensions``, what `regression_metrics` gives, and ``ci95``.
    """
    if isinstance(outputs, ValueOutputs):
        return {
            "task": REGRESSION,
            "dimensions": list(outputs.names),
            **regression_metrics.regression_metrics(outputs.names, targets, activated),
            "ci95": regression_metrics.concordance_interval(targets, activated, speakers=speakers),
        }
    scored: dict[str, Any] = {}
    for column, (name, true, probabilities) in enumerate(by_column(outputs, targets, activated)):
        rows = np.flatnonzero(targets[:, column] != UNKNOWN).tolist()
        scored[name] = None
        if len(true):
            scored[name] = score_part(
                outputs.columns[name],
                true,
                probabilities,
                [speakers[row] for row in rows],
                [seconds[row] for row in rows],
            )
    first = next(iter(scored.values()))
    return first if len(scored) == 1 else {**first, "by_column": scored}


def unknown_label_notes(
    outputs: Outputs, targets: np.ndarray, parts: Mapping[str, Sequence[int]]
) -> list[str]:
    """Say which clips of validation and test are not scored in a label column, and why.

    Args:
        outputs: What the model says.
        targets: ``[clips, columns]``.
        parts: Clips of each part.
    """
    if not isinstance(outputs, LabelOutputs):
        return []
    notes = []
    for column, name in enumerate(outputs.columns):
        for part, indices in parts.items():
            unknown = int((targets[list(indices), column] == UNKNOWN).sum())
            if unknown:
                notes.append(
                    f"{unknown} of {len(indices)} clips of {part} have a label in the column "
                    f"{name!r} that train does not have, or none; that column is not "
                    f"{'learnt from' if part == 'train' else 'scored on'} them"
                )
    return notes


def by_column(
    outputs: LabelOutputs, targets: np.ndarray, activated: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, classes ``[n]`` and probabilities ``[n, C]`` of each column, where they are known."""
    start = 0
    for column, (name, labels) in enumerate(outputs.columns.items()):
        known = targets[:, column] != UNKNOWN
        end = start + len(labels)
        yield name, targets[known, column], activated[known, start:end]
        start = end


def prediction_record(outputs: Outputs, clip: Clip, activated: np.ndarray) -> dict[str, Any]:
    """What ``predictions.jsonl`` holds of a clip, besides its speaker and length.

    Args:
        outputs: What the model says.
        clip: The clip.
        activated: ``[O]`` float, its probabilities or values.
    """
    if isinstance(outputs, ValueOutputs):
        true = column_values([clip], outputs.names)[0].tolist()
        values = zip(outputs.names, activated, strict=True)
        return {
            "id": clip.id,
            "values": dict(zip(outputs.names, true, strict=True)),
            "predicted": {name: round(float(value), 6) for name, value in values},
        }
    columns, start = {}, 0
    first = next(iter(outputs.columns))
    for name, labels in outputs.columns.items():
        row = activated[start : start + len(labels)]
        start += len(labels)
        columns[name] = {
            "label": column_text(clip, name, first=first) or None,
            "predicted": labels[int(row.argmax())],
            "probabilities": {
                label: round(float(value), 6) for label, value in zip(labels, row, strict=True)
            },
        }
    record = {"id": clip.id, **columns[first]}
    return record if len(columns) == 1 else {**record, "columns": columns}
