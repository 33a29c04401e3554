# SPDX-License-Identifier: Apache-2.0
"""The report of a run that predicts values, such as arousal and valence: scatters of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voxadapt.recipes.reporting.bands import Band, band_chart
from voxadapt.recipes.reporting.figures import Scale, round_ticks, score_strip
from voxadapt.recipes.reporting.head import (
    count_clips,
    describe_model,
    describe_protocol,
    describe_seconds,
)
from voxadapt.recipes.reporting.page import NARROW_SPACE, text
from voxadapt.recipes.reporting.sections import settings_section

_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = 440, 52, 430, 10, 388
_MOST_DOTS = 2_000
_SHOWN_ERRORS = 20


def regression_body(
    name: str,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    predictions: Sequence[Mapping[str, Any]],
    clips: str,
) -> tuple[str, str]:
    """Title and body of the page.

    Args:
        name: The run's name.
        metrics: ``metrics.json``.
        history: ``history.json``.
        predictions: ``predictions.jsonl``.
        clips: The section of clips to listen to, or nothing.
    """
    sections = (
        _head(name, metrics, f"Epoch {metrics['best_epoch']} of {len(history)} was kept."),
        scatter_section(predictions),
        _curves(history, metrics["best_epoch"]),
        clips,
        _errors(predictions),
        settings_section(name, metrics),
    )
    return f"{name}: CCC {metrics['ccc']:.3f}", "\n".join(filter(None, sections))


def joined_regression_head(name: str, metrics: Mapping[str, Any]) -> str:
    """The head of the page of several folds or seeds."""
    return _head(name, metrics, "Scores are means over the runs.")


def _head(name: str, metrics: Mapping[str, Any], told: str) -> str:
    interval = (metrics.get("ci95") or {}).get("ccc")
    unit = (metrics.get("ci95") or {}).get("unit", "clip")
    spread = (metrics.get("std") or {}).get("ccc")
    mean = _card("CCC", metrics["ccc"], interval, spread, "mean over the dimensions")
    cards = "\n".join(
        _card(dimension, scores["ccc"], None, None, _further(scores))
        for dimension, scores in metrics.get("by_dimension", {}).items()
    )
    notes = "".join(f"<li>{text(note)}</li>" for note in metrics["notes"])
    listed = f"<ul>{notes}</ul>" if notes else ""
    notice = ""
    if metrics["speaker_overlap"]:
        notice = (
            '<div class="notice warning" role="note"><strong>Parts share speakers.</strong> These '
            f"scores say little about speakers that the model has never heard.{listed}</div>"
        )
    elif notes:
        notice = f'<div class="notice" role="note"><strong>About the split</strong>{listed}</div>'
    facts = {
        **describe_model(dict(metrics)),
        "Parameters trained": f"{metrics['parameters_trained']:,}",
        "Time": describe_seconds(metrics["seconds"]),
    }
    rows = "".join(
        f"<div><dt>{key}</dt><dd>{text(value)}</dd></div>" for key, value in facts.items()
    )
    return f"""<header>
<p class="kind">Fine-tuning run <bdi>{text(name)}</bdi></p>
<h1>{text(count_clips(metrics))}, {text(_count(metrics["dimensions"]))}</h1>
{notice}
<div class="scores">
{mean}
{cards}
</div>
<p class="protocol">{text(describe_protocol(metrics["protocol"]))} {text(told)}</p>
<p class="lead">The concordance correlation coefficient (CCC) is 1 where predictions are the true
values, and 0 where they tell nothing; unlike Pearson’s correlation it falls with a wrong scale or
offset. The range is a 95{NARROW_SPACE}% interval, found by resampling the test {text(unit)}s.</p>
<dl class="facts">{rows}</dl>
</header>"""


def _count(dimensions: Sequence[str]) -> str:
    return "1 dimension" if len(dimensions) == 1 else f"{len(dimensions)} dimensions"


def _further(scores: Mapping[str, float]) -> str:
    return f"Pearson {scores['pearson']:.3f}, mean absolute error {scores['mae']:.3g}"


def _card(
    title: str, score: float, interval: Sequence[float] | None, spread: float | None, told: str
) -> str:
    around = "" if spread is None else f" <small>± {spread:.3f}</small>"
    ends = "" if interval is None else f"<b>{interval[0]:.3f} to {interval[1]:.3f}</b>"
    drawn = None if interval is None else [min(1.0, max(0.0, end)) for end in interval]
    return f"""<div class="score">
<h2><bdi>{text(title)}</bdi></h2>
<div class="value">{score:.3f}{around}</div>
{score_strip(min(1.0, max(0.0, score)), drawn, None)}
<p class="range">{ends}</p>
<p>{text(told)}</p>
</div>"""


def scatter_section(predictions: Sequence[Mapping[str, Any]]) -> str:
    """True against predicted values, a scatter for each dimension."""
    dimensions = list(predictions[0]["values"]) if predictions else []
    step = -(-len(predictions) // _MOST_DOTS)
    charts = "\n".join(_scatter(name, predictions[::step]) for name in dimensions)
    part = "" if step <= 1 else f" One in {step} of {len(predictions):,} clips is drawn."
    return f"""<section id="scatter">
<h2>True and predicted values</h2>
<p class="lead">Each dot is a test clip; right ones lie on the diagonal.{part} A flat cloud means
that the model keeps to the middle.</p>
<div class="charts">
{charts}
</div>
</section>"""


def _scatter(name: str, predictions: Sequence[Mapping[str, Any]]) -> str:
    true = [record["values"][name] for record in predictions]
    predicted = [record["predicted"][name] for record in predictions]
    ticks = round_ticks(min(*true, *predicted), max(*true, *predicted))
    across = Scale(ticks[0], ticks[-1], _LEFT, _RIGHT)
    down = Scale(ticks[0], ticks[-1], _BOTTOM, _TOP)
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{down.place(tick)}" '
        f'y2="{down.place(tick)}"/><text x="{_LEFT - 8}" y="{down.place(tick) + 4:.1f}" '
        f'text-anchor="end">{tick:g}</text><text x="{across.place(tick)}" y="{_BOTTOM + 19}" '
        f'text-anchor="middle">{tick:g}</text>'
        for tick in (round(tick, 6) for tick in ticks)
    )
    dots = "".join(
        f'<circle class="c0" fill-opacity=".6" cx="{across.place(x)}" cy="{down.place(y)}" r="3.5">'
        f"<title>{text(record['id'])}: {x:.3g}, predicted {y:.3g}</title></circle>"
        for record, x, y in zip(predictions, true, predicted, strict=True)
    )
    return f"""<figure>
<figcaption><b><bdi>{text(name)}</bdi></b><span class="key diagonal">right</span></figcaption>
<svg class="chart" role="img" viewBox="0 0 {_SIZE} {_SIZE}">
<title>{text(f"{name}: predicted against true values of {len(true)} clips")}</title>
{grid}
<line class="even" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BOTTOM}" y2="{_TOP}"/>
{dots}
<text x="{(_LEFT + _RIGHT) / 2}" y="{_SIZE - 8}" text-anchor="middle">true value</text>
</svg>
</figure>"""


def _curves(history: Sequence[Mapping[str, float]], chosen: int) -> str:
    epochs = [round(entry["epoch"]) + 1 for entry in history]
    charts = []
    for title, names in (
        ("Loss", {"training": "train_loss", "validation": "valid_loss"}),
        ("Concordance (CCC)", {"validation": "valid_ccc"}),
    ):
        bands = [
            Band(told, group, [entry.get(key) for entry in history])
            for group, (told, key) in enumerate(names.items(), start=2 - len(names))
        ]
        if any(value is not None for band in bands for value in band.values):
            charts.append(band_chart(title, epochs, bands, axis="epoch"))
    return f"""<section id="training">
<h2>Training</h2>
<p class="lead">Epoch {chosen} was kept, chosen on the validation part.</p>
<div class="charts">
{"".join(charts)}
</div>
</section>"""


def _errors(predictions: Sequence[Mapping[str, Any]]) -> str:
    """The clips whose values were missed by most."""

    def error(record: Mapping[str, Any]) -> float:
        pairs = [(value, record["predicted"][name]) for name, value in record["values"].items()]
        return float(np.mean([abs(true - predicted) for true, predicted in pairs]))

    worst = sorted(predictions, key=error, reverse=True)[:_SHOWN_ERRORS]
    names = list(worst[0]["values"]) if worst else []
    heads = "".join(
        f'<th class="number" scope="col"><bdi>{text(name)}</bdi></th>' for name in names
    )
    rows = "".join(
        f'<tr><td class="clip mono"><bdi>{text(record["id"])}</bdi></td>'
        + "".join(
            f'<td class="number">{record["values"][name]:.2f} → '
            f"{record['predicted'][name]:.2f}</td>"
            for name in names
        )
        + f'<td class="number faint">{error(record):.2f}</td></tr>'
        for record in worst
    )
    return f"""<section id="mistakes">
<h2>Largest errors</h2>
<p class="lead">True value and prediction, and their mean absolute distance.</p>
<div class="scroll"><table class="list">
<thead><tr><th class="clip" scope="col">clip</th>{heads}<th class="number" scope="col">error</th>
</tr></thead>
<tbody>{rows}</tbody>
</table></div>
</section>"""
