# SPDX-License-Identifier: Apache-2.0
"""Curves of a pretraining run for its report, each with a sentence on how to read it."""

import math
from collections.abc import Sequence

from voxadapt.adapters import CollapseThresholds, ObjectivesConfig
from voxadapt.recipes.pretraining.options import OptimizerOptions
from voxadapt.recipes.reporting.figures import Series, line_chart
from voxadapt.recipes.reporting.page import text

Entry = dict[str, float]
Level = tuple[str, float]

_SHOWN_POINTS = 120  # of a curve: more could not be told apart, and would make the page heavy
_OBJECTIVES = {
    "mask_prediction": "How far the student’s guess of a hidden frame is from the teacher’s frame. "
    "It falls, and may rise for a while as the teacher learns to tell more frames apart.",
    "reconstruction": "How far the student’s guess of a hidden input frame, standardised, is from "
    "that frame. It needs no teacher, so it can fall while teacher and targets collapse.",
    "denoising": "The same at the frames that the student does see, after their augmentation. "
    "Without augmentation it is copying, and falls to nothing.",
    "prosody": "How far the student’s guess of how loudness goes up and down around each frame is "
    "from that of the clean clip, both standardised, at the frames that the student does see. It "
    "needs no teacher either.",
    "hidden_prosody": "The same at hidden frames, whose loudness can be guessed only in part.",
    "frame_distillation": "Cross-entropy between the teacher’s and the student’s distribution over "
    "prototypes. It cannot fall below the entropy of the targets, drawn further down.",
    "utterance_distillation": "The same for whole clips; a step has few of them, so it is noisy.",
    "local_attributes": "Cross-entropy of guessing a hidden frame’s attribute. It should leave "
    "chance early, and it jumps where a fit of the codebook sets another task.",
}
_ANY_OBJECTIVE = "It should fall, and then level off."


def logged_steps(log: Sequence[Entry]) -> list[Entry]:
    """The entries of training steps, without those of the codebook's fits."""
    return [entry for entry in log if "loss" in entry]


def without_remainders(log: Sequence[Entry]) -> list[Entry]:
    """The log without steps that have less than half of the frames of another.

    The last batch of an epoch can be a remainder; fewer frames use fewer attributes and prototypes,
    which would look like an illness.
    """
    most = max((entry.get("frames", 0.0) for entry in log), default=0.0)
    return [entry for entry in log if entry.get("frames", most) >= most / 2]


def codebook_fits(log: Sequence[Entry]) -> list[Entry]:
    """The entries of the codebook's fits."""
    return [entry for entry in log if "codebook_inertia" in entry]


def words(name: str) -> str:
    """``teacher_effective_rank`` to ``teacher effective rank``."""
    return name.replace("_", " ")


def objective_curves(log: Sequence[Entry], objectives: ObjectivesConfig) -> str:
    """Charts of the weighted loss and of each objective."""
    charts = [_chart(log, "Weighted loss", ["loss"], "The sum of the objectives by weight.")]
    for name, weight in objectives.weights().items():
        if not weight:
            continue
        chance = None
        if name == "local_attributes":
            chance = (f"chance, ln {objectives.attributes}", math.log(objectives.attributes))
        title = f"{words(name).capitalize()}, weight {weight:g}"
        reading = _OBJECTIVES.get(name, _ANY_OBJECTIVE)
        charts.append(_chart(log, title, [name], reading, level=chance))
    return _grid(charts)


def health_curves(
    log: Sequence[Entry], objectives: ObjectivesConfig, thresholds: CollapseThresholds
) -> str:
    """Charts of the monitors, each with the value at which the run is stopped."""
    flat = math.log(objectives.prototypes)
    kept = [entry for entry in log if "codebook_kept_ids" in entry]
    charts = [
        _chart(
            log,
            "Standard deviation of a feature over frames",
            ["student_std", "teacher_std"],
            "Well above the line the frames differ from one another; at 0 they are all the same.",
            level=_stop(thresholds.std),
        ),
        _chart(
            log,
            "Effective rank of the frames",
            ["student_effective_rank", "teacher_effective_rank"],
            "About how many directions the frames spread over; at 1 all lie on one line.",
            level=_stop(thresholds.effective_rank),
        ),
        _chart(
            log,
            "Prototypes in use",
            ["prototype_perplexity"],
            f"Over how many of the {objectives.prototypes} prototypes the teacher’s targets spread "
            "in a batch; falling to 1, every frame gets the same target.",
            level=_stop(thresholds.perplexity),
        ),
        _chart(
            log,
            "Prototypes in use by whole clips",
            ["utterance_perplexity"],
            "The same for the clips of a batch, where it has at least 16 of them.",
            level=_stop(thresholds.perplexity),
        ),
        _chart(
            log,
            "Entropy of a frame’s target",
            ["target_entropy"],
            f"Falls as the teacher becomes surer; at ln {objectives.prototypes} = {flat:.2f} the "
            "targets are flat and teach nothing, at 0 each names one prototype.",
            level=_stop((1.0 - thresholds.sharpness) * flat) if thresholds.sharpness > 0 else None,
        ),
        _chart(
            log,
            "Attributes in use",
            ["attribute_perplexity"],
            f"Over how many of the codebook’s {objectives.attributes} attributes the frames of a "
            "batch spread; falling to 1, the attribute says nothing of the frame.",
            level=_stop(thresholds.perplexity),
        ),
        _chart(
            kept if len(kept) > 1 else [],  # the table has a single one
            "Frames that kept their id at a refit",
            ["codebook_kept_ids"],
            "Low values mean that a refit gave ids another meaning, and the student starts anew.",
            shares=True,
        ),
    ]
    return _grid(charts)


def schedule_curves(log: Sequence[Entry], optimizer: OptimizerOptions) -> str:
    """Charts of what was set for each step, and of the gradient."""
    changes = len({entry.get("teacher_temperature") for entry in log} - {None}) > 1
    charts = [
        _chart(
            log,
            "Learning rate",
            ["learning_rate"],
            "Rises over the warm-up, then falls to 0.",
            refits=False,
        ),
        _chart(
            log,
            "Teacher’s decay",
            ["teacher_decay"],
            "The share of the teacher that stays at a step; at 1 it stands still.",
            from_zero=False,
            refits=False,
        ),
        _chart(
            log if changes else [],  # the table of options has a constant one
            "Teacher’s temperature",
            ["teacher_temperature"],
            "That of its distributions over prototypes; lower is sharper.",
            refits=False,
        ),
        _chart(
            log,
            "Norm of the gradient, before clipping",
            ["gradient_norm"],
            "Clipped above the line. Single peaks are harmless; a steady rise warns of divergence.",
            level=("clipped to", optimizer.clip_norm),
        ),
    ]
    return _grid(charts)


def thin(log: Sequence[Entry], names: Sequence[str]) -> tuple[list[int], list[list[float]]]:
    """Steps and values of curves in at most `_SHOWN_POINTS` points, means of equal stretches.

    Args:
        log: Entries in order.
        names: What to take; entries without one of them, or where it is not finite, are left out.

    Returns:
        The last step of each stretch, and for each name its values.
    """
    whole = [entry for entry in log if all(_is_finite(entry.get(name)) for name in names)]
    size = max(1, math.ceil(len(whole) / _SHOWN_POINTS))
    parts = [whole[first : first + size] for first in range(0, len(whole), size)]
    steps = [int(part[-1]["step"]) for part in parts]
    means = [[sum(entry[name] for entry in part) / len(part) for part in parts] for name in names]
    return steps, means


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _stop(threshold: float) -> Level | None:
    """The line of a threshold; those at 0 and below are switched off."""
    return ("stops the run", threshold) if threshold > 0 else None


def _grid(charts: Sequence[str]) -> str:
    return '<div class="charts">\n{}\n</div>'.format("\n".join(filter(None, charts)))


def _chart(
    log: Sequence[Entry],
    title: str,
    names: Sequence[str],
    reading: str,
    *,
    level: Level | None = None,
    shares: bool = False,
    from_zero: bool = True,
    refits: bool = True,
) -> str:
    """One chart over its sentence; nothing where nothing was logged."""
    steps, values = thin(log, names)
    if not steps:
        return ""
    lines = [Series(title, "blue", values[0])]
    if len(names) > 1:
        lines = [Series("student", "blue", values[0]), Series("teacher", "orange", values[1])]
    fits = [entry["step"] for entry in codebook_fits(log) if entry["step"] > 0]
    figure = line_chart(
        title,
        steps,
        lines,
        axis="step",
        level=level,
        marks=("codebook refitted", fits) if refits else None,
        shares=shares,
        from_zero=from_zero,
    )
    return f'<div>{figure}\n<p class="lead">{text(reading)}</p></div>'
