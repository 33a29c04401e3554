# SPDX-License-Identifier: Apache-2.0
"""A pretraining run as one page: was it healthy, how it learnt, what it was.

It is written whenever a run ends, also one that was stopped because it was ill: that is when the
curves are wanted most.
"""

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.corpora.waveform_augment import WaveformAugmentation
from voxadapt.recipes.pretraining.curves import (
    Entry,
    codebook_fits,
    health_curves,
    logged_steps,
    objective_curves,
    schedule_curves,
    without_remainders,
    words,
)
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.pretraining.step import (
    FRAMES_TO_JUDGE,
    STEPS_TO_JUDGE_TOGETHER,
    healthiest_lately,
    is_under_way,
)
from voxadapt.recipes.reporting.page import build_page, percent, text
from voxadapt.recipes.reporting.tables import settings_list
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.prepare import frequency_bands, hours
from voxadapt.recipes.running.run_folder import flatten, versions, write_json

logger = logging.getLogger(__name__)

REPORT_FILE = "report.html"
LOG_FILE = "log.json"
# A monitor within this many times its threshold is told, though it did not stop the run.
_NEAR = 2.0
# Of ln K: an attribute loss above this at the end is that of guessing.
_GUESSING = 0.95
_KEPT = 0.5  # share of frames that keep their id at a refit
_USED = 0.5  # perplexity of a codebook as a share of its size


@dataclass(frozen=True)
class PretrainingRecord:
    """What a report is made of.

    Attributes:
        name: The run's name.
        options: What the user asked for.
        log: Entries of steps and of the codebook's fits, in order.
        facts: What the run was, by name, in words.
        steps: Optimiser steps done.
        planned: Optimiser steps of the whole run.
        finished: Whether it came to its end.
        stopped: Why it was stopped as ill; None where it was not.
        versions: Versions of the packages.
    """

    name: str
    options: PretrainOptions
    log: list[Entry]
    facts: dict[str, str]
    steps: int
    planned: int
    finished: bool
    stopped: str | None = None
    versions: dict[str, str] = field(default_factory=dict)


def leave_records(run: PretrainingRun, *, finished: bool, stopped: str | None = None) -> None:
    """Write ``log.json`` and ``report.html`` into the run's folder; call on the main process.

    Args:
        run: The run.
        finished: Whether it came to its end.
        stopped: Why it was stopped as ill; None where it was not.

    Raises:
        UsageError: The disk refuses; the files are as they were.
    """
    record = describe_run(run, finished=finished, stopped=stopped)
    page = build_report(record).encode()
    # JSON has no NaN.
    entries = [
        {name: value if math.isfinite(value) else None for name, value in entry.items()}
        for entry in record.log
    ]
    try:
        write_json(run.out / LOG_FILE, entries)
        write_aside(run.out / REPORT_FILE, page)
    except OSError as error:
        raise UsageError(
            f"{run.out}: log and report cannot be written ({error}). {run.way_back()}; make room "
            "there and go on with the same command and --resume"
        ) from error


def report_illness(run: PretrainingRun, why: str) -> None:
    """Write what `leave_records` does for a run that is stopped as ill; never raises for the disk.

    Args:
        run: The run.
        why: What was found.
    """
    try:
        leave_records(run, finished=False, stopped=why)
    except UsageError as error:  # the message that stops the run must still be told
        logger.warning("%s", error)
    else:
        logger.info("curves up to there: %s", run.out / REPORT_FILE)


def describe_run(
    run: PretrainingRun, *, finished: bool, stopped: str | None = None
) -> PretrainingRecord:
    """Take from a run what its report tells."""
    options, spec, progress = run.options, run.backbone.spec, run.progress
    adapter = run.pretrainer.student.adapter
    layer = "" if options.backbone == "fbank" else f", layer {options.layer}"
    weights = run.pretrainer.objectives.weights()
    augmentation = options.frame_augment.for_bands(frequency_bands(run.backbone))
    facts = {
        "Audio": f"{hours(run.corpus.store, spec.frame_rate):.2f} h in "
        f"{len(run.corpus.clips):,} clips",
        "Left out for bad audio": f"{len(run.corpus.bad):,} clips",
        "Trained": f"{progress.step:,} steps; {progress.epoch} of {options.epochs} epochs",
        "Backbone, frozen": f"{options.backbone}{layer}, {spec.frame_rate:g} frames a second",
        "Adapter": f"{adapter.config.layers} layers, {adapter.config.width} wide, "
        f"{sum(parameter.numel() for parameter in adapter.parameters()):,} parameters",
        "Objectives by weight": ", ".join(
            f"{words(name)} {weight:g}" for name, weight in weights.items() if weight
        ),
        "Hidden from the student": f"{percent(options.masking.ratio)} of the frames, in spans of "
        f"{options.masking.span_length}",
        "Changed for the student": ", ".join(
            f"{name} {size:g}" for name, size in dataclasses.asdict(augmentation).items() if size
        )
        or "nothing",
        **changed_audio(options.augment),
        "A step": f"{options.batch_seconds:g} s of audio, {run.accelerator.num_processes} "
        f"process(es) on {run.accelerator.device}, {options.precision}",
        "Seed": str(options.seed),
    }
    return PretrainingRecord(
        name=run.out.resolve().name,
        options=options,
        log=list(progress.log),
        facts=facts,
        steps=progress.step,
        planned=progress.step if finished else run.planned_steps,
        finished=finished,
        stopped=stopped,
        versions=versions(),
    )


def changed_audio(augment: WaveformAugmentation) -> dict[str, str]:
    """The fact of what was done to the audio itself; none where nothing was."""
    noisy, babbling = percent(augment.noise_probability), percent(augment.babble_share)
    changes = [
        ("speed", augment.speed, ""),
        ("gain", augment.gain_db, " dB"),
        ("noise", augment.noise_snr_db, f" dB for {noisy} of the clips, {babbling} by other clips"),
    ]
    told = [
        f"{name} {limits[0]:g} to {limits[1]:g}{unit}" for name, limits, unit in changes if limits
    ]
    return {"Changed in the audio": ", ".join(told)} if augment.is_on else {}


def build_report(record: PretrainingRecord) -> str:
    """The page as HTML."""
    options, log = record.options, without_remainders(record.log)
    title, notice = verdict(record)
    facts = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(told)}</dd></div>"
        for name, told in record.facts.items()
    )
    health = health_curves(log, options.objectives, options.collapse)
    body = f"""<header>
<p class="kind">Pretraining run <bdi>{text(record.name)}</bdi></p>
<h1 id="verdict">{text(title)}</h1>
{notice}
<dl class="facts">{facts}</dl>
</header>
<section id="objectives">
<h2>Objectives</h2>
<p class="lead">Means over the real frames (hidden frames, clips) of a whole batch, unweighted. They
say how well the student follows its teacher, not how good the adapter is: a teacher that gives all
frames the same target is easy to follow.</p>
{objective_curves(log, options.objectives)}
</section>
<section id="health">
<h2>Health</h2>
<p class="lead">What shows collapse while the losses look fine. A run that crosses a dotted line is
stopped.</p>
{health}
</section>
<section id="codebook">
<h2>Codebook of local attributes</h2>
{codebook_table(log, options.objectives.attributes)}
</section>
<section id="schedules">
<h2>Schedules and gradient</h2>
<p class="lead">What was set for each step, and the gradient that it met.</p>
{schedule_curves(log, options.optimizer)}
</section>
<section id="settings">
<details>
<summary>Configuration, versions</summary>
<div>
<h3>Configuration</h3>
{settings_list(flatten(dataclasses.asdict(options)))}
<h3>Versions</h3>
{settings_list(record.versions)}
</div>
</details>
</section>"""
    return build_page(f"{record.name}: {title}", body)


def verdict(record: PretrainingRecord) -> tuple[str, str]:
    """The page's heading, and a box that gives the reasons."""
    signs = signs_of_illness(record)
    if record.stopped is not None:
        why = record.stopped[:1].upper() + record.stopped[1:]
        return f"Stopped at step {record.steps:,}", _notice("What was found", [why])
    to_do = "" if record.finished else "The same command with --resume goes on from here."
    if not logged_steps(record.log):
        return "Finished" if record.finished else "Not begun", text(to_do)
    if signs:
        title = "Finished, but something looked ill" if record.finished else "Something looks ill"
        return title, _notice("What looked ill", [*signs, to_do] if to_do else signs)
    told = (
        "No monitor came near the value at which a run is stopped, and attributes, where there are "
        f"any, {'were learnt and ' if record.finished else ''}kept their meaning. {to_do}"
    )
    title = "Healthy" if record.finished else "Healthy so far, not finished"
    return title, f'<div class="notice" role="note">{text(told.strip())}</div>'


def _notice(heading: str, points: Sequence[str]) -> str:
    listed = "".join(f"<li>{text(point)}</li>" for point in points)
    return (
        f'<div class="notice warning" role="note"><strong>{text(heading)}</strong>'
        f"<ul>{listed}</ul></div>"
    )


def signs_of_illness(record: PretrainingRecord) -> list[str]:
    """What is not collapse yet but deserves a look, one sentence each."""
    options, fits = record.options, codebook_fits(record.log)
    size = options.objectives.attributes
    signs = _near_collapse(record)
    steps = without_remainders(record.log)
    losses = [entry["local_attributes"] for entry in steps if "local_attributes" in entry]
    last = losses[-max(1, len(losses) // 10) :]
    if record.finished and last and sum(last) / len(last) > _GUESSING * math.log(size):
        signs.append(
            f"Attributes were not learnt: their loss ends at {sum(last) / len(last):.2f}, and "
            f"guessing gives {math.log(size):.2f}. Train longer, or ask for fewer attributes."
        )
    for entry in fits:
        step, kept = f"step {entry['step']:,.0f}", entry.get("codebook_kept_ids", 1.0)
        if kept < _KEPT:
            signs.append(
                f"The refit at {step} left only {percent(kept)} of the frames their id: refit "
                "more often, or let the teacher move more slowly."
            )
        if entry["codebook_perplexity"] < _USED * size:
            signs.append(
                f"The fit at {step} spreads over {entry['codebook_perplexity']:.0f} of {size} "
                "attributes: give more varied audio, or ask for fewer attributes."
            )
    return signs


def _near_collapse(record: PretrainingRecord) -> list[str]:
    """Monitors that came near their threshold, each at its lowest."""
    lowest: dict[str, tuple[float, float, float]] = {}
    begun = [
        entry
        for entry in logged_steps(record.log)
        if is_under_way(entry["step"], entry["step"] / record.planned)
    ]
    # As in the run: few frames, or those of few clips, are alike however healthy it is.
    begun = [entry for entry in begun if entry.get("frames", math.inf) >= FRAMES_TO_JUDGE]
    for place, entry in enumerate(begun):
        first = max(0, place + 1 - STEPS_TO_JUDGE_TOGETHER)
        lately = begun[first : place + 1]
        for name, value in (healthiest_lately(lately) if "clips" in entry else entry).items():
            limit = record.options.collapse.limit(name)
            near = limit is not None and limit > 0 and value < _NEAR * limit
            if near and value < lowest.get(name, (math.inf, 0.0, 0.0))[0]:
                lowest[name] = (value, limit or 0.0, entry["step"])
    return [
        f"{words(name).capitalize()} came down to {value:.3g} at step {step:,.0f}; a run is "
        f"stopped below {limit:g}."
        for name, (value, limit, step) in lowest.items()
    ]


def codebook_table(log: Sequence[Entry], attributes: int) -> str:
    """One row for each fit."""
    fits = codebook_fits(log)
    if not fits:
        return '<p class="lead">None was fitted.</p>'
    rows = "".join(_fit_row(number, entry) for number, entry in enumerate(fits))
    return f"""<p class="lead">Inertia is the mean squared distance of a frame to its centroid; only
fits of the same kind of frames can be compared. All {attributes} attributes in equal use would give
a perplexity of {attributes}.</p>
<table class="list">
<thead><tr><th scope="col">fit</th><th scope="col">frames of</th>
<th class="number" scope="col">at step</th><th class="number" scope="col">inertia</th>
<th class="number" scope="col">perplexity</th><th class="number" scope="col">kept their id</th></tr>
</thead>
<tbody>{rows}</tbody>
</table>"""


def _fit_row(number: int, entry: dict[str, Any]) -> str:
    kept = entry.get("codebook_kept_ids")
    return (
        f"<tr><td>{number + 1}</td><td>{'the teacher' if number else 'the input'}</td>"
        f'<td class="number">{entry["step"]:,.0f}</td>'
        f'<td class="number">{entry["codebook_inertia"]:.2f}</td>'
        f'<td class="number">{entry["codebook_perplexity"]:.1f}</td>'
        f'<td class="number">{"–" if kept is None else percent(kept)}</td></tr>'
    )
