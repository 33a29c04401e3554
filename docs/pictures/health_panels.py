# SPDX-License-Identifier: Apache-2.0
"""Panels of curves as SVG files that read in light and dark, on their own background."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from voxadapt.recipes.reporting.figures import Series, line_chart
from voxadapt.recipes.reporting.page import text

# The colours of the reports, which the chart is drawn for.
STYLE = """
.page { fill: #ffffff; } text { fill: #5b626a; }
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.title { font-size: 14px; font-weight: 600; fill: #1b1e22; }
.grid { stroke: #dfe2e5; } .blue { stroke: #0062a8; } .orange { stroke: #b85400; }
circle.blue { fill: #0062a8; } circle.orange { fill: #b85400; }
.level { stroke: #5b626a; stroke-width: 1.5; stroke-dasharray: 1.5 3.5; }
polyline, .key { fill: none; stroke-width: 2; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) {
  .page { fill: #1a1e22; } text { fill: #a9b1b9; } .title { fill: #e7e9eb; }
  .grid { stroke: #30363c; } .blue { stroke: #6cb6ee; } .orange { stroke: #f09c46; }
  circle.blue { fill: #6cb6ee; } circle.orange { fill: #f09c46; } .level { stroke: #a9b1b9; }
}
"""
_TOP, _HEIGHT = 44, 250  # room for title and key; height of the chart itself


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        file: Its name without ending.
        title: What is drawn.
        logged: The value of the log.
        ill: The run beside the healthy one; None draws that alone.
        level: Name and height of a dotted line.
    """

    file: str
    title: str
    logged: str
    ill: str | None = None
    level: tuple[str, float] | None = None


_CHANCE = ("chance, ln 128", math.log(128))
PANELS = (
    Panel("healthy_objective", "Reconstruction", "reconstruction"),
    Panel("healthy_attributes", "Local attributes", "local_attributes", level=_CHANCE),
    Panel("collapse_objective", "Self-distillation, frames", "frame_distillation", "collapse"),
    Panel(
        "collapse_monitor",
        "Prototypes in use, of 128",
        "prototype_perplexity",
        "collapse",
        ("stops the run", 2.0),
    ),
    Panel("codebook_objective", "Local attributes", "local_attributes", "codebook", _CHANCE),
    Panel(
        "codebook_monitor",
        "Attributes in use, of 128",
        "attribute_perplexity",
        "codebook",
        ("stops the run", 2.0),
    ),
    Panel("leakage_objective", "Reconstruction", "reconstruction", "leakage"),
    Panel(
        "leakage_monitor",
        "Effective rank of the teacher’s frames",
        "teacher_effective_rank",
        "leakage",
        ("stops the run", 2.0),
    ),
)


def draw_panel(panel: Panel, curves: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Draw one panel from the curves of all runs.

    Args:
        panel: What to draw.
        curves: By run and logged value; `step` has the places.
    """
    healthy = curves["healthy"]
    lines = [Series("healthy", "blue", healthy[panel.logged])]
    if panel.ill:
        lines.append(Series(panel.ill, "orange", curves[panel.ill][panel.logged]))
    steps = [int(step) for step in healthy["step"]]
    figure = line_chart(panel.title, steps, lines, axis="step", level=panel.level)
    chart = figure[figure.index("<svg") : figure.index("</svg>")]
    summary, inside = re.fullmatch(
        r"<svg.*?>\s*<title>(.*?)</title>(.*)", chart, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    inside = re.sub(r'<circle class="target".*?</circle>', "", inside)
    keys = [(line.tone, line.name) for line in lines]
    keys += [("level", panel.level[0])] if panel.level else []
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 440 {_TOP + _HEIGHT}" role="img">\n'
        f"<title>{summary}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="page" width="440" height="{_TOP + _HEIGHT}" rx="8"/>\n'
        f'<text class="title" x="16" y="24">{text(panel.title)}</text>\n{_key(keys)}\n'
        f'<g transform="translate(0 {_TOP})">{inside}</g>\n</svg>\n'
    )


def _key(entries: list[tuple[str, str]]) -> str:
    """Short lines and what they stand for, side by side."""
    drawn, x = [], 16
    for tone, name in entries:
        drawn.append(f'<line class="key {tone}" x1="{x}" x2="{x + 18}" y1="42" y2="42"/>')
        drawn.append(f'<text x="{x + 24}" y="46">{text(name)}</text>')
        x += 44 + 7 * len(name)
    return "".join(drawn)
