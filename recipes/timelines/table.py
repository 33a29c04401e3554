# SPDX-License-Identifier: Apache-2.0
"""A timeline as text for a terminal."""

from collections.abc import Iterator, Mapping

from voxadapt.timeline import Timeline
from voxadapt.timeline_files import printable


def timeline_table(timeline: Timeline) -> str:
    """What a recording is over all, and its segments; or, of a model of values, its windows."""
    overall = timeline.overall()
    heard = f"{int(timeline.heard.sum()):,} of {len(timeline):,} windows"
    speech = "" if timeline.speech is None else f", {clock(overall.speech_seconds)} of it speech"
    lines = [f"{printable(timeline.name)}  {clock(timeline.seconds)}{speech} ({heard} heard)"]
    if (not overall.columns and not overall.values) or not timeline.heard.any():
        return "\n".join([*lines, "  no speech was found"])
    if overall.values:
        return "\n".join([*lines, f"  over all  {shown(overall.values)}", *_value_rows(timeline)])
    for column, shares in overall.columns.items():
        which = f" {column}" if len(overall.columns) > 1 else ""
        by_share = dict(sorted(shares.items(), key=lambda pair: -pair[1]))
        lines += [f"  over all{which}  {shown(by_share)}", *_segment_rows(timeline, column)]
    return "\n".join(lines)


def _segment_rows(timeline: Timeline, column: str) -> Iterator[str]:
    segments = timeline.segments(column)
    width = max([len("label"), *(len(segment.label) for segment in segments)])
    yield f"  {'start':>10} {'end':>10}  {'label':<{width}}  probability"
    for one in segments:
        times = f"{clock(one.start):>10} {clock(one.end):>10}"
        yield f"  {times}  {one.label:<{width}}  {one.probability:.2f}"


def _value_rows(timeline: Timeline) -> Iterator[str]:
    names = list(timeline.dimensions)
    widths = [max(9, len(name)) for name in names]
    heads = " ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    yield f"  {'start':>10} {'end':>10}  {heads}"
    for one in timeline.windows():
        if one.values:
            numbers = " ".join(
                f"{one.values[name]:>{width}.4g}" for name, width in zip(names, widths, strict=True)
            )
            yield f"  {clock(one.stretch_start):>10} {clock(one.stretch_end):>10}  {numbers}"


def shown(numbers: Mapping[str, float]) -> str:
    """Names and numbers in one line."""
    return ", ".join(f"{name} {number:.3g}" for name, number in numbers.items())


def clock(seconds: float) -> str:
    """Seconds as ``m:ss.s``, or ``h:mm:ss.s`` from an hour on."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    text = f"{rest // 10:02d}.{rest % 10}"
    if minutes >= 60:
        return f"{minutes // 60}:{minutes % 60:02d}:{text}"
    return f"{minutes}:{text}"
