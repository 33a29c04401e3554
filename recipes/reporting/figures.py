# SPDX-License-Identifier: Apache-2.0
"""Figures of a report as inline SVG; colours and type come from the page's style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from voxadapt.recipes.reporting.page import percent, text

_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 430, 26, 206  # edges of the area that lines are drawn in
_DOTTED_POINTS = 60  # dots of more points than this would hide the line


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: What the reader calls it.
        tone: Its colour.
        values: One for each point of the chart.
    """

    name: str
    tone: Literal["blue", "orange"]
    values: Sequence[float]


@dataclass(frozen=True)
class Scale:
    """Maps values between ``low`` and ``high`` to places between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value stands: the middle where there is only one."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def round_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return about ``count`` round values from ``low`` or just below to ``high`` or just above."""
    rough = (high - low) / count or abs(high) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if power * factor > 0.999 * rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def line_chart(
    title: str,
    points: Sequence[int],
    lines: Sequence[Series],
    *,
    axis: str = "epoch",
    chosen: int | None = None,
    shares: bool = False,
    level: tuple[str, float] | None = None,
    marks: tuple[str, Sequence[float]] | None = None,
    from_zero: bool = True,
) -> str:
    """Draw values by epoch, or by step.

    Args:
        title: Heading.
        points: Number of each epoch or step, ascending.
        lines: What to draw.
        axis: What the points are.
        chosen: The epoch that was kept; marked, with the last line's value there.
        shares: Whether values are shares, to be written in percent.
        level: Name and height of a dotted horizontal line.
        marks: Name and places of dashed vertical lines.
        from_zero: Whether the scale begins at 0 where no value is below.

    Returns:
        A ``<figure>``.
    """
    values = [value for line in lines for value in line.values] + ([level[1]] if level else [])
    ticks = round_ticks(min(values + [0.0] * from_zero), max(values))
    down = Scale(ticks[0], ticks[-1], _BOTTOM, _TOP)
    across = Scale(points[0], points[-1], _LEFT + 8, _RIGHT - 8)
    named, places = marks or ("", [])
    places = [place for place in places if points[0] <= place <= points[-1]]
    keys = "".join(
        f'<span class="key {line.tone}">{text(line.name)}</span>'
        for line in lines
        if line.name != title  # which needs no key
    )
    if level:
        keys += f'<span class="key level">{text(level[0])}</span>'
    if places:
        keys += f'<span class="key dashed">{text(named)}</span>'
    summary = "; ".join(
        f"{line.name} from {tell(line.values[0], shares)} to {tell(line.values[-1], shares)}"
        for line in lines
    )
    return f"""<figure>
<figcaption><b>{text(title)}</b>{keys}</figcaption>
<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">
<title>{text(f"{title} by {axis}: {summary}")}</title>
{value_marks(down, ticks, shares)}
{point_marks(across, points, axis)}
{_level(down.place(level[1]), *level, shares) if level else ""}
{"".join(_upright(across.place(place)) for place in places)}
{_chosen_mark(across, lines[-1], points, chosen, shares) if chosen is not None else ""}
{"".join(_line(line, points, across, down, axis, chosen, shares) for line in lines)}
</svg>
</figure>"""


def score_strip(share: float, interval: Sequence[float] | None, chance: float | None) -> str:
    """Draw a score on a line from 0 to 100 %, with its interval and the chance level."""
    parts = ['<rect class="track" y="9" width="100%" height="4" rx="2"/>']
    if interval is not None:
        low, high = interval
        parts.append(
            f'<rect class="soft" x="{100 * low:.2f}%" y="7" width="{100 * (high - low):.2f}%" '
            'height="8" rx="2"/>'
        )
    if chance is not None:
        x = f"{100 * chance:.2f}%"
        parts.append(
            f'<line class="mark" x1="{x}" x2="{x}" y1="4" y2="18">'
            f"<title>chance: {percent(chance)}</title></line>"
        )
    parts.append(f'<circle class="blue" cx="{100 * share:.2f}%" cy="11" r="5"/>')
    return f'<svg height="22" aria-hidden="true">{"".join(parts)}</svg>'


def share_bar(share: float, mean: float | None) -> str:
    """Draw a share as a bar of the full width's part, with a mark at the mean of all bars."""
    mark = ""
    if mean is not None:
        x = f"{100 * mean:.2f}%"
        mark = f'<line class="mark" x1="{x}" x2="{x}" y1="-3" y2="17"/>'
    return (
        '<svg height="14" aria-hidden="true"><rect class="track" width="100%" height="14" rx="2"/>'
        f'<rect class="blue" width="{100 * share:.2f}%" height="14" rx="2"/>{mark}</svg>'
    )


def tell(value: float, shares: bool) -> str:
    """A value with as many digits as can be read: a share in percent, or three digits."""
    if shares:
        return percent(value)
    return f"{value:.3f}" if 0.1 <= abs(value) < 1_000 or value == 0 else f"{value:.3g}"


def value_marks(down: Scale, ticks: Sequence[float], shares: bool, *, right: float = _RIGHT) -> str:
    """Horizontal grid lines and their values, with as many decimals as the steps need."""
    unit = 100 if shares else 1
    step = unit * (ticks[1] - ticks[0])
    decimals = next(number for number in range(12) if abs(step - round(step, number)) < 1e-3 * step)
    return "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{down.place(tick)}" '
        f'y2="{down.place(tick)}"/><text x="{_LEFT - 8}" y="{down.place(tick) + 4:.1f}" '
        f'text-anchor="end">{unit * tick:.{decimals}f}</text>'
        for tick in ticks
    )


def point_marks(across: Scale, points: Sequence[int], axis: str) -> str:
    """Round numbers of epochs, steps or layers below a drawing, and what they are."""
    first, last = points[0], points[-1]
    count = 10 if len(points) <= 13 and last < 1_000 else 6
    ticks = [tick for tick in round_ticks(first, last, count=count) if tick == int(tick)]
    ticks = [first, *(int(tick) for tick in ticks if first < tick <= last)]
    marks = "".join(
        f'<text x="{across.place(tick)}" y="{_BOTTOM + 19}" text-anchor="middle">{tick:,}</text>'
        for tick in ticks
    )
    middle = (_LEFT + _RIGHT) / 2
    return f'{marks}<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{text(axis)}</text>'


def _level(y: float, name: str, value: float, shares: bool) -> str:
    return (
        f'<line class="level" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}">'
        f"<title>{text(name)}: {tell(value, shares)}</title></line>"
    )


def _upright(x: float) -> str:
    return f'<line class="chosen" x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{_BOTTOM}"/>'


def _chosen_mark(
    across: Scale, line: Series, points: Sequence[int], chosen: int, shares: bool
) -> str:
    """A vertical line at the kept epoch, and what it scored, written over the drawing."""
    x, row = across.place(chosen), points.index(chosen)
    anchor = "start" if x < _WIDTH / 3 else "end" if x > 2 * _WIDTH / 3 else "middle"
    return (
        f'{_upright(x)}<text class="told" x="{x}" y="{_TOP - 12}" text-anchor="{anchor}">'
        f"chosen: epoch {chosen}, {tell(line.values[row], shares)}</text>"
    )


def _line(
    line: Series,
    points: Sequence[int],
    across: Scale,
    down: Scale,
    axis: str,
    chosen: int | None,
    shares: bool,
) -> str:
    """The line itself, and a dot at each point that tells its value where the pointer rests."""
    places = [(across.place(x), down.place(y)) for x, y in zip(points, line.values, strict=True)]
    path = " ".join(f"{x},{y}" for x, y in places)
    drawn = [f'<polyline class="{line.tone}" points="{path}"/>']
    for point, value, (x, y) in zip(points, line.values, places, strict=True):
        if point == chosen:
            drawn.append(f'<circle class="{line.tone} ring" cx="{x}" cy="{y}" r="6"/>')
        if point == chosen or len(points) <= _DOTTED_POINTS:
            drawn.append(f'<circle class="{line.tone}" cx="{x}" cy="{y}" r="2.5"/>')
        drawn.append(
            f'<circle class="target" cx="{x}" cy="{y}" r="7"><title>'
            f"{text(line.name)}, {text(axis)} {point:,}: {tell(value, shares)}</title></circle>"
        )
    return "".join(drawn)
