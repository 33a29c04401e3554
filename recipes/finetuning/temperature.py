# SPDX-License-Identifier: Apache-2.0
"""The temperature of each label column, fitted on the validation part."""

import dataclasses
import logging
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from voxadapt.calibration import fit_temperature, log_loss
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs, Outputs
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.scoring.evaluation import classify_clips
from voxadapt.recipes.scoring.metrics import expected_calibration_error
from voxadapt.recipes.scoring.target_scores import by_column

logger = logging.getLogger(__name__)

Calibration = dict[str, dict[str, Any]]
"""What ``metrics.json`` says of temperatures, by label column."""


def fit_temperatures(
    model: FrameClassifier, data: LabelledFrames, accelerator: Accelerator, budget: int
) -> tuple[Outputs, Calibration]:
    """Fit a temperature for each label column on the validation part.

    Every process computes the same. A column of which the validation part has no label that train
    knows, such as speakers in speaker-disjoint parts, has none.

    Args:
        model: The trained classifier, which has not learnt from the validation part.
        data: Clips, frames and splits.
        accelerator: The process group.
        budget: Padded frames in one forward pass.

    Returns:
        What the model's outputs mean, with the temperatures; and for ``metrics.json``, by label
        column, ``temperature`` and ``valid``. Of values, the outputs as they are, and nothing.
    """
    outputs, valid = data.outputs, data.splits.valid
    if not isinstance(outputs, LabelOutputs) or not valid:
        return outputs, {}
    logits = classify_clips(
        model, data.store, valid, accelerator, budget=budget, activation=raw_logits
    )
    temperatures = {
        name: fit_temperature(part, true)
        for name, true, part in by_column(outputs, data.targets[valid], logits)
        if len(true)
    }
    calibrated = dataclasses.replace(outputs, temperatures=temperatures)
    errors = calibration_errors(calibrated, data.targets[valid], logits)
    for name, found in errors.items():
        logger.info(
            "temperature%s %.2f: calibration error on the validation part %.1f %%, before %.1f %%",
            f" of {name}" if len(outputs.columns) > 1 else "",
            temperatures[name],
            100 * found["ece_after"],
            100 * found["ece_before"],
        )
    return calibrated, {
        name: {"temperature": temperatures[name], "valid": found} for name, found in errors.items()
    }


def raw_logits(logits: Tensor) -> Tensor:
    """An activation for `classify_clips` that leaves logits as they are."""
    return logits


def activate_logits(outputs: Outputs, logits: np.ndarray) -> np.ndarray:
    """Probabilities or values ``[N, O]`` of raw logits ``[N, O]``, with the temperatures."""
    return outputs.activate(torch.from_numpy(logits)).numpy()


def calibration_errors(
    outputs: LabelOutputs, targets: np.ndarray, logits: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Calibration with and without the temperatures.

    Args:
        outputs: What the logits mean, with temperatures.
        targets: ``[N, columns]``, as `LabelledFrames` has them.
        logits: ``[N, O]`` float, raw.

    Returns:
        By label column that has a temperature and known labels: ``n`` clips, expected calibration
        error and log loss (nats) before and after.
    """
    found = {}
    for name, true, part in by_column(outputs, targets, logits):
        if name not in outputs.temperatures or not len(true):
            continue
        column = LabelOutputs({name: outputs.columns[name]})
        both = {"before": part, "after": part / outputs.temperatures[name]}
        errors = {
            f"ece_{when}": expected_calibration_error(activate_logits(column, scaled), true)
            for when, scaled in both.items()
        }
        losses = {f"log_loss_{when}": log_loss(scaled, true) for when, scaled in both.items()}
        found[name] = {"n": len(true), **errors, **losses}
    return found


def describe_calibration(
    outputs: Outputs, targets: np.ndarray, logits: np.ndarray, fitted: Calibration
) -> dict[str, Any]:
    """``calibration`` of ``metrics.json``.

    Args:
        outputs: What the logits mean, with temperatures.
        targets: ``[N, columns]`` of the test part.
        logits: ``[N, O]`` float, raw, of the test part.
        fitted: From `fit_temperatures`.

    Returns:
        ``temperature``, ``valid`` and ``test`` of the first label column, ``test`` being None where
        the part has no label that train knows; with several columns, all in ``by_column``. Nothing
        where no temperature was fitted.
    """
    if not isinstance(outputs, LabelOutputs) or not fitted:
        return {}
    test = calibration_errors(outputs, targets, logits)
    columns = {name: {**found, "test": test.get(name)} for name, found in fitted.items()}
    first = columns.get(next(iter(outputs.columns)), {})
    several = {"by_column": columns} if len(outputs.columns) > 1 else {}
    return {"calibration": {**first, **several}}
