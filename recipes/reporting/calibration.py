# SPDX-License-Identifier: Apache-2.0
"""Whether a model's probabilities can be believed: the reliability diagram."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voxadapt.recipes.reporting.figures import Scale
from voxadapt.recipes.reporting.page import percent, text

BINS = 15  # those of the expected calibration error
_WIDTH, _HEIGHT = 440, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 430, 10, 210
_COUNT_TOP, _COUNT_BOTTOM = 232, 280


def reliability(records: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """Put predictions in bins of equal width by their confidence.

    Args:
        records: Lines of ``predictions.jsonl``.

    Returns:
        For each of the bins: clips, share that is right, mean confidence; zeros where it is empty.
    """
    confidence = np.array([max(record["probabilities"].values()) for record in records])
    right = np.array([record["predicted"] == record["label"] for record in records], dtype=float)
    # A bin's right edge belongs to it, as in `expected_calibration_error`.
    places = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    bins = []
    for number in range(BINS):
        inside = places == number
        count = int(inside.sum())
        bins.append(
            (count, float(right[inside].mean()), float(confidence[inside].mean()))
            if count
            else (0, 0.0, 0.0)
        )
    return bins


def calibration_section(
    records: Sequence[Mapping[str, Any]],
    error: float | None,
    fitted: Mapping[str, Any] | None = None,
) -> str:
    """The diagram, and what it says in one sentence.

    Args:
        records: Lines of ``predictions.jsonl``.
        error: The expected calibration error.
        fitted: ``calibration`` of ``metrics.json``, if a temperature was fitted.
    """
    bins = reliability(records)
    clips = sum(count for count, _, _ in bins)
    lean = sum(count * (right - sure) for count, right, sure in bins) / clips
    if abs(lean) < 0.02:
        told = "On the whole the probabilities are about right."
    else:
        side = "less" if lean > 0 else "more"
        told = f"On the whole the model is {side} sure than it is right, by {percent(abs(lean))}."
    known = "" if error is None else f" Expected calibration error {percent(error)}."
    test = (fitted or {}).get("test")
    if fitted and test:
        known += (
            f" A temperature of {fitted['temperature']:.2f}, fitted on the validation part, is in "
            f"these probabilities; without it the error would be {percent(test['ece_before'])}."
        )
    return f"""<section id="calibration">
<h2>Calibration</h2>
<p class="lead">Clips by how sure the model was: each bar would end at its orange mark if the model
was right as often as it was sure. {text(told)}{text(known)}</p>
{_diagram(bins, clips, told)}
</section>"""


def _diagram(bins: Sequence[tuple[int, float, float]], clips: int, told: str) -> str:
    across = Scale(0, 1, _LEFT, _RIGHT)
    down = Scale(0, 1, _BOTTOM, _TOP)
    highest = max(count for count, _, _ in bins)
    counts = Scale(0, highest, _COUNT_BOTTOM, _COUNT_TOP)
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{down.place(share)}" '
        f'y2="{down.place(share)}"/><text x="{_LEFT - 8}" y="{down.place(share) + 4:.1f}" '
        f'text-anchor="end">{100 * share:.0f}</text>'
        f'<text x="{across.place(share)}" y="{_COUNT_BOTTOM + 19}" text-anchor="middle">'
        f"{100 * share:.0f}</text>"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    bars = "".join(
        _bin(number, found, across, down, counts, clips)
        for number, found in enumerate(bins)
        if found[0]
    )
    return f"""<figure>
<figcaption><b>Share that is right, %</b><span class="key box bar">right</span>
<span class="key mean">mean confidence</span>
<span class="key diagonal">calibrated</span></figcaption>
<svg class="chart diagram" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">
<title>{text(f"Share right by confidence, {clips:,} clips. {told}")}</title>
{grid}
{bars}
<line class="even" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BOTTOM}" y2="{_TOP}"/>
<text x="{_LEFT - 8}" y="{_COUNT_BOTTOM}" text-anchor="end">clips</text>
<text x="{(_LEFT + _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">confidence, %</text>
</svg>
</figure>"""


def _bin(
    number: int,
    found: tuple[int, float, float],
    across: Scale,
    down: Scale,
    counts: Scale,
    clips: int,
) -> str:
    count, right, sure = found
    x, end = across.place(number / BINS) + 1, across.place((number + 1) / BINS) - 1
    width = round(end - x, 1)
    level = down.place(sure)
    high = counts.place(count)
    told = (
        f"confidence {100 * number / BINS:.0f} to {100 * (number + 1) / BINS:.0f} %: "
        f"{count} of {clips} clips, {percent(right)} right, {percent(sure)} sure"
    )
    return (
        f"<g><title>{text(told)}</title>"
        f'<rect class="bar" x="{x:.1f}" width="{width}" y="{down.place(right)}" '
        f'height="{_BOTTOM - down.place(right):.1f}"/>'
        f'<line class="mean" x1="{x:.1f}" x2="{end:.1f}" y1="{level}" y2="{level}"/>'
        f'<rect class="count" x="{x:.1f}" width="{width}" y="{high}" '
        f'height="{_COUNT_BOTTOM - high:.1f}"/></g>'
    )
