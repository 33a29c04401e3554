# SPDX-License-Identifier: Apache-2.0
"""Lines of means with their spread behind them, each in a group's colour."""

from collections.abc import Sequence
from dataclasses import dataclass

from voxadapt.recipes.reporting.figures import (
    Scale,
    point_marks,
    round_ticks,
    tell,
    value_marks,
)
from voxadapt.recipes.reporting.page import text

_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 430, 12, 206


@dataclass(frozen=True)
class Band:
    """One line.

    Attributes:
        name: What the reader calls it.
        group: Its colour.
        values: One for each point of the chart; None leaves a gap.
        low: The lower edge of the spread at each point; None draws no spread.
        high: The upper edge.
    """

    name: str
    group: int
    values: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None


def band_chart(
    title: str,
    points: Sequence[int],
    bands: Sequence[Band],
    *,
    axis: str,
    shares: bool = False,
    level: tuple[str, float] | None = None,
    from_zero: bool = False,
) -> str:
    """Draw lines over whole numbers, such as layers or epochs.

    Args:
        title: Heading.
        points: The numbers, ascending.
        bands: What to draw.
        axis: What the numbers are.
        shares: Whether values are shares, to be written in percent.
        level: Name and height of a dotted horizontal line; it is drawn where it is within reach.
        from_zero: Whether the scale begins at 0.

    Returns:
        A ``<figure>``.
    """
    values = [value for band in bands for value in _all(band)]
    ticks = round_ticks(min(values + [0.0] * from_zero), max(values))
    down, across = (
        Scale(ticks[0], ticks[-1], _BOTTOM, _TOP),
        Scale(points[0], points[-1], 62, _RIGHT - 8),
    )
    keys = "".join(
        f'<span class="name"><svg viewBox="0 0 18 12" width="18" height="12" aria-hidden="true">'
        f'<polyline class="line c{band.group}" points="0,6 18,6"/></svg>{text(band.name)}</span>'
        for band in bands
    )
    leveled = ""
    if level is not None and ticks[0] <= level[1] <= ticks[-1]:
        y = down.place(level[1])
        keys += f'<span class="key level">{text(level[0])}</span>'
        leveled = f'<line class="level" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}"/>'
    summary = "; ".join(_summary(band, points, axis, shares) for band in bands)
    return f"""<figure class="bands">
<figcaption><b>{text(title)}</b>{keys}</figcaption>
<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">
<title>{text(f"{title} by {axis}: {summary}")}</title>
{value_marks(down, ticks, shares)}
{point_marks(across, points, axis)}
{leveled}
{"".join(_band(band, points, across, down) for band in bands)}
{"".join(_line(band, points, across, down, axis, shares) for band in bands)}
</svg>
</figure>"""


def _all(band: Band) -> list[float]:
    found = [*band.values, *(band.low or ()), *(band.high or ())]
    return [value for value in found if value is not None]


def _summary(band: Band, points: Sequence[int], axis: str, shares: bool) -> str:
    pairs = [
        (value, point)
        for value, point in zip(band.values, points, strict=True)
        if value is not None
    ]
    if not pairs:
        return f"{band.name} has no value"
    value, point = max(pairs)
    return f"{band.name} is highest at {axis} {point} with {tell(value, shares)}"


def _band(band: Band, points: Sequence[int], across: Scale, down: Scale) -> str:
    if band.low is None or band.high is None:
        return ""
    known = [
        (across.place(point), down.place(low), down.place(high))
        for point, low, high in zip(points, band.low, band.high, strict=True)
        if low is not None and high is not None
    ]
    if len(known) == 1:
        ((x, low, high),) = known
        return (
            f'<line class="line c{band.group} whisker" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'
        )
    edge = [f"{x},{high}" for x, _, high in known] + [f"{x},{low}" for x, low, _ in reversed(known)]
    return f'<polygon class="band c{band.group}" points="{" ".join(edge)}"/>' if known else ""


def _line(
    band: Band, points: Sequence[int], across: Scale, down: Scale, axis: str, shares: bool
) -> str:
    places = [
        (point, value, across.place(point), down.place(value))
        for point, value in zip(points, band.values, strict=True)
        if value is not None
    ]
    path = " ".join(f"{x},{y}" for _, _, x, y in places)
    drawn = [f'<polyline class="line c{band.group}" points="{path}"/>']
    for point, value, x, y in places:
        told = f"{band.name}, {axis} {point}: {tell(value, shares)}"
        drawn.append(
            f'<circle class="point c{band.group}" cx="{x}" cy="{y}" r="3"><title>{text(told)}'
            "</title></circle>"
        )
    return "".join(drawn)
