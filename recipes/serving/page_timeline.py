# SPDX-License-Identifier: Apache-2.0
"""A timeline on the page: curves over time, segments, files to take away."""

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from voxadapt.recipes.reporting.page import percent, text
from voxadapt.recipes.reporting.style import GROUP_COLOURS
from voxadapt.recipes.serving.page_parts import downloads

if TYPE_CHECKING:
    from voxadapt.timeline import Segment, Timeline

_WIDTH, _HEIGHT = 1000, 200  # of the drawing, stretched to the page
_SHOWN_LABELS = 6
_MOST_POINTS = 600  # of a curve
_MOST_SEGMENTS = 500  # on the page; the files have all


def timeline_result(timeline: "Timeline", name: str) -> str:
    """All that is known of a longer recording.

    Args:
        timeline: The timeline.
        name: The file's.
    """
    names, curves = _shown_outputs(timeline)
    segments = timeline.segments()
    parts = [
        "<h3>Over time</h3>",
        _legend(names),
        _chart(timeline, curves, _strip(segments, names, timeline.seconds)),
        f'<p class="told">Windows of {timeline.window:g} s, one every {timeline.hop:g} s, smoothed '
        f"over {timeline.smooth:g} s.</p>",
        _table(segments),
        downloads(name, timeline_files(timeline)),
    ]
    return "\n".join(part for part in parts if part)


def timeline_headline(timeline: "Timeline") -> str:
    """What it says of the recording as a whole."""
    overall = timeline.overall()
    seconds = f'<span class="seconds">{clock(timeline.seconds)}</span>'
    if overall.label is None:
        means = "".join(
            f'<bdi>{text(name)}</bdi><span class="number">{value:.2f}</span>'
            for name, value in overall.values.items()
        )
        told = f'<div class="values">{means}</div>' if means else "<p>There is nothing to hear.</p>"
        return f'{told}<p class="headline">{seconds}</p>'
    return (
        f'<p class="headline"><bdi class="label">{text(overall.label)}</bdi> '
        f'<span class="sure">{percent(overall.probabilities[overall.label])} over the whole '
        f"recording</span>{seconds}</p>"
    )


def timeline_files(timeline: "Timeline") -> dict[str, tuple[str, bytes]]:
    """Files to take away: media type and content by the ending of the name."""
    from voxadapt.timeline_files import (
        audacity_labels,
        timeline_record,
        write_segments,
        write_windows,
    )

    files = {}
    windows, segments = io.StringIO(), io.StringIO()
    write_windows(timeline, windows)
    files["windows.csv"] = ("text/csv", windows.getvalue().encode())
    if timeline.columns:
        write_segments(timeline, segments)
        files["segments.csv"] = ("text/csv", segments.getvalue().encode())
        files["audacity.txt"] = ("text/plain", audacity_labels(timeline).encode())
    record = json.dumps(timeline_record(timeline), ensure_ascii=False)
    files["timeline.json"] = ("application/json", record.encode())
    return files


def clock(seconds: float) -> str:
    """``3725`` to ``1:02:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _shown_outputs(timeline: "Timeline") -> tuple[list[str], np.ndarray[Any, Any]]:
    """Names of the first column's likeliest labels, or of the dimensions; curves ``[N, names]``."""
    if not timeline.columns:
        return list(timeline.dimensions), timeline.smoothed
    column, labels = next(iter(timeline.columns.items()))
    curves = timeline.smoothed[:, timeline.slots()[column]]
    heard = curves[timeline.heard]
    means = heard.mean(axis=0) if len(heard) else np.zeros(len(labels))
    chosen = sorted(np.argsort(-means, kind="stable")[:_SHOWN_LABELS].tolist())
    return [list(labels)[row] for row in chosen], curves[:, chosen]


def _legend(names: list[str]) -> str:
    keys = "".join(
        f'<span style="--tone: var(--c{number % GROUP_COLOURS})"><bdi>{text(name)}</bdi></span>'
        for number, name in enumerate(names)
    )
    return f'<div class="legend">{keys}</div>'


def _chart(timeline: "Timeline", curves: np.ndarray[Any, Any], strip: str) -> str:
    """Curves, and below them, on the same scale of time, a strip and a ruler."""
    values = not timeline.columns
    heard = curves[timeline.heard]
    low, high = (float(heard.min()), float(heard.max())) if values and len(heard) else (0.0, 1.0)
    span = (high - low) or 1.0
    middles = timeline.stretches.mean(axis=1) / timeline.seconds * _WIDTH
    lines = "".join(
        f'<path style="stroke: var(--c{number % GROUP_COLOURS})" '
        f'd="{_path(middles, _HEIGHT * (1 - (curve - low) / span))}"/>'
        for number, curve in enumerate(curves.T)
    )
    grid = "".join(
        f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{share * _HEIGHT}" y2="{share * _HEIGHT}"/>'
        for share in (0, 0.5, 1)
    )
    top, bottom = (f"{high:.2f}", f"{low:.2f}") if values else ("100 %", "0 %")
    return (
        f'<div class="chart"><span>{top}</span><span>{bottom}</span><svg class="timeline" '
        f'role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">'
        f"<title>{bottom} to {top} over time</title>{grid}{lines}</svg>{strip}"
        f'<p class="ruler"><span>0:00</span><span>{clock(timeline.seconds)}</span></p></div>'
    )


def _path(across: np.ndarray[Any, Any], down: np.ndarray[Any, Any]) -> str:
    """A line through the places that are known; it breaks where one is not."""
    step = max(1, len(across) // _MOST_POINTS)
    parts, pen = [], "M"
    for x, y in zip(across[::step], down[::step], strict=True):
        if np.isnan(y):
            pen = "M"
            continue
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    # A lone point is drawn too: a line that goes nowhere has round ends.
    return "".join(parts) + ("h.1" if len(parts) == 1 else "")


def _strip(segments: "list[Segment]", names: list[str], seconds: float) -> str:
    """Which label is when, as a strip of colours."""
    if not segments:
        return ""
    tones = {name: f"var(--c{number % GROUP_COLOURS})" for number, name in enumerate(names)}
    boxes = "".join(
        f'<rect x="{_WIDTH * part.start / seconds:.1f}" y="0" height="10" '
        f'width="{_WIDTH * (part.end - part.start) / seconds:.1f}" '
        f'style="fill: {tones.get(part.label, "var(--c8)")}"><title>{text(part.label)}, '
        f"{clock(part.start)} to {clock(part.end)}</title></rect>"
        for part in segments
    )
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" '
        f'aria-hidden="true">{boxes}</svg>'
    )


def _table(segments: "list[Segment]") -> str:
    rows = "".join(
        f"<tr><td>{clock(part.start)}</td><td>{clock(part.end)}</td>"
        f"<td><bdi>{text(part.label)}</bdi></td><td>{percent(part.probability)}</td></tr>"
        for part in segments[:_MOST_SEGMENTS]
    )
    if not rows:
        return ""
    more = len(segments) - _MOST_SEGMENTS
    note = f'<p class="told">{more} more are in the files.</p>' if more > 0 else ""
    return (
        '<details><summary>Segments</summary><div class="scroll"><table><thead><tr><th>from</th>'
        "<th>to</th><th>label</th><th>mean probability</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{note}</details>"
    )
