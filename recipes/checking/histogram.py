# SPDX-License-Identifier: Apache-2.0
"""Histograms of a corpus as inline SVG; colours and type come from the page's style."""

import math
from collections.abc import Sequence

import numpy as np

from voxadapt.recipes.reporting.figures import Scale, round_ticks
from voxadapt.recipes.reporting.page import text

_WIDTH, _HEIGHT = 440, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 430, 14, 174
_BINS = 30


def histogram(
    title: str, values: Sequence[float], unit: str, limits: Sequence[tuple[str, float]] = ()
) -> str:
    """Draw how often values occur.

    Args:
        title: Heading.
        values: At least one, all finite.
        unit: What they are measured in.
        limits: Name and place of vertical lines; those outside of the axis are not drawn.

    Returns:
        A ``<figure>``.
    """
    ticks = round_ticks(min(values), max(values), count=6)
    counts, edges = np.histogram(values, bins=_BINS, range=(ticks[0], ticks[-1]))
    heights = _count_ticks(int(counts.max()))
    across = Scale(ticks[0], ticks[-1], _LEFT, _RIGHT)
    down = Scale(0, heights[-1], _BOTTOM, _TOP)
    bars = []
    for count, low, high in zip(
        counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
    ):
        if not count:
            continue
        x, y = across.place(low), min(down.place(count), _BOTTOM - 1.5)  # one clip can be seen
        bars.append(
            f'<rect class="blue" x="{x + 0.5:.1f}" y="{y:.1f}" '
            f'width="{across.place(high) - x - 1:.1f}" height="{_BOTTOM - y:.1f}">'
            f"<title>{_number(low)} to {_number(high)} {text(unit)}: {count:,} clips</title></rect>"
        )
    drawn = [(name, place) for name, place in limits if ticks[0] <= place <= ticks[-1]]
    lines = "".join(
        f'<line class="chosen" x1="{across.place(place)}" x2="{across.place(place)}" '
        f'y1="{_TOP - 6}" y2="{_BOTTOM}"><title>{text(name)}: {_number(place)} {text(unit)}</title>'
        "</line>"
        for name, place in drawn
    )
    named = dict.fromkeys(name for name, _ in drawn)
    keys = "".join(f'<span class="key dashed">{text(name)}</span>' for name in named)
    middle = float(np.median(values))
    summary = (
        f"{title} of {len(values):,} clips: {_number(min(values))} to {_number(max(values))} "
        f"{unit}, half of them below {_number(middle)}"
    )
    return f"""<figure>
<figcaption><b>{text(title)}</b>{keys}</figcaption>
<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">
<title>{text(summary)}</title>
{_grid(down, heights)}
{"".join(bars)}
{lines}
{_axis(across, ticks, unit)}
</svg>
</figure>"""


def _count_ticks(most: int) -> list[float]:
    """Whole numbers from 0 to `most` or a little above."""
    return sorted({math.ceil(tick) for tick in round_ticks(0, max(1, most), count=4)})


def _grid(down: Scale, ticks: Sequence[float]) -> str:
    return "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{down.place(tick)}" '
        f'y2="{down.place(tick)}"/><text x="{_LEFT - 8}" y="{down.place(tick) + 4:.1f}" '
        f'text-anchor="end">{tick:,.0f}</text>'
        for tick in ticks
    )


def _axis(across: Scale, ticks: Sequence[float], unit: str) -> str:
    marks = "".join(
        f'<text x="{across.place(tick)}" y="{_BOTTOM + 19}" text-anchor="middle">'
        f"{_number(tick)}</text>"
        for tick in ticks
    )
    middle = (_LEFT + _RIGHT) / 2
    return f'{marks}<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{text(unit)}</text>'


def _number(value: float) -> str:
    return f"{round(value, 10):.3g}" if abs(value) < 1_000 else f"{value:,.0f}"
