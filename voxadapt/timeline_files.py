# SPDX-License-Identifier: Apache-2.0
"""A timeline as CSV, as JSON, and as a label track for Audacity."""

import csv
from collections.abc import Mapping
from typing import Any, TextIO

from .timeline import Segment, Timeline, most_probable

_DIGITS = 6
_TIME_DIGITS = 3  # milliseconds


def timeline_record(timeline: Timeline) -> dict[str, Any]:
    """A timeline as what JSON can hold.

    Returns:
        The settings; ``overall``; ``segments`` (by column, where there are several); ``speech``
        where there was a gate; and ``windows``: each with what it heard (``start``, ``end``), the
        stretch that it stands for (``from``, ``to``), and its smoothed numbers, ``null`` where the
        model was not asked.
    """
    several = len(timeline.columns) > 1
    overall = timeline.overall()
    record: dict[str, Any] = {
        "path": printable(timeline.name),
        "seconds": round(timeline.seconds, _TIME_DIGITS),
        "window": timeline.window,
        "hop": timeline.hop,
        "smooth": timeline.smooth,
        "latency": timeline.latency,
        "overall": {
            **_numbers(overall.label, overall.columns, overall.values, timeline),
            "speech_seconds": round(overall.speech_seconds, _TIME_DIGITS),
        },
    }
    if timeline.columns:
        seconds = {name: _rounded(found) for name, found in overall.seconds_by_label.items()}
        segments = {
            name: [_segment_record(segment) for segment in timeline.segments(name)]
            for name in timeline.columns
        }
        record["overall"]["seconds_by_label"] = seconds if several else _only(seconds)
        record["segments"] = segments if several else _only(segments)
    if timeline.speech is not None:
        record["speech"] = [
            [round(time, _TIME_DIGITS) for time in span] for span in timeline.speech
        ]
    record["windows"] = [
        {
            "start": round(window.start, _TIME_DIGITS),
            "end": round(window.end, _TIME_DIGITS),
            "from": round(window.stretch_start, _TIME_DIGITS),
            "to": round(window.stretch_end, _TIME_DIGITS),
            "speech": round(window.speech, _TIME_DIGITS),
            **_numbers(window.label, window.columns, window.values, timeline),
        }
        for window in timeline.windows()
    ]
    return record


def write_windows(timeline: Timeline, stream: TextIO, *, header: bool = True) -> None:
    """Write a row of CSV for each window: times, and the smoothed numbers.

    The columns are ``path``, ``start`` and ``end`` of what was heard, ``from`` and ``to`` of the
    stretch that the window stands for, ``speech``, and then as in `predict`'s table: ``predicted``
    and each label, of a further column its name and ``name=label``, or the dimensions. The latter
    are empty where the model was not asked.
    """
    writer = csv.writer(stream, lineterminator="\n")
    if header:
        writer.writerow(["path", "start", "end", "from", "to", "speech", *_number_names(timeline)])
    for window in timeline.windows():
        times = (window.start, window.end, window.stretch_start, window.stretch_end, window.speech)
        row: list[Any] = [round(time, _TIME_DIGITS) for time in times]
        for name, labels in timeline.columns.items():
            shares = window.columns[name]
            row.append(most_probable(shares) or "")
            row += [round(shares[label], _DIGITS) if shares else "" for label in labels]
        for name in timeline.dimensions:
            row.append(round(window.values[name], _DIGITS) if window.values else "")
        writer.writerow([printable(timeline.name), *row])


def write_segments(timeline: Timeline, stream: TextIO, *, header: bool = True) -> None:
    """Write a row of CSV for each segment: path, column, start, end, label and probability.

    Raises:
        ValueError: The model predicts values, so there are no segments.
    """
    _refuse_values(timeline, "segments")
    writer = csv.writer(stream, lineterminator="\n")
    if header:
        writer.writerow(["path", "column", "start", "end", "label", "probability"])
    for column in timeline.columns:
        for segment in timeline.segments(column):
            writer.writerow([printable(timeline.name), column, *_segment_record(segment).values()])


def audacity_labels(timeline: Timeline, column: str | None = None) -> str:
    """The segments as a label track for Audacity (File, Import, Labels): tab-separated lines.

    Args:
        timeline: What a model said.
        column: Which column of labels; None is the first. A track holds one.

    Raises:
        ValueError: The model predicts values, or there is no such column.
    """
    _refuse_values(timeline, "labels")
    return "".join(
        f"{segment.start:.6f}\t{segment.end:.6f}\t{' '.join(segment.label.split())}\n"
        for segment in timeline.segments(column)
    )


def printable(name: str) -> str:
    """A file's name as text that UTF-8 can write, whatever bytes it is made of."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _refuse_values(timeline: Timeline, what: str) -> None:
    if not timeline.columns:
        raise ValueError(
            f"{timeline.name}: this model gives values ({', '.join(timeline.dimensions)}), which "
            f"have no {what}; write the windows as CSV or JSON"
        )


def _number_names(timeline: Timeline) -> list[str]:
    header: list[str] = []
    for place, (name, labels) in enumerate(timeline.columns.items()):
        header += (
            [name, *(f"{name}={label}" for label in labels)] if place else ["predicted", *labels]
        )
    return header + list(timeline.dimensions)


def _numbers(
    label: str | None,
    columns: Mapping[str, Mapping[str, float]],
    values: Mapping[str, float],
    timeline: Timeline,
) -> dict[str, Any]:
    """Label and probabilities, of each column where there are several; or values."""
    if not timeline.columns:
        return {"values": _rounded(values) or None}
    found: dict[str, Any] = {
        "predicted": label,
        "probabilities": _rounded(next(iter(columns.values()), {})) or None,
    }
    if len(timeline.columns) > 1:
        found["columns"] = {
            name: {
                "predicted": most_probable(columns.get(name, {})),
                "probabilities": _rounded(columns.get(name, {})) or None,
            }
            for name in timeline.columns
        }
    return found


def _segment_record(segment: Segment) -> dict[str, Any]:
    return {
        "start": round(segment.start, _TIME_DIGITS),
        "end": round(segment.end, _TIME_DIGITS),
        "label": segment.label,
        "probability": round(segment.probability, _DIGITS),
    }


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(number, _DIGITS) for name, number in numbers.items()}


def _only(found: dict[str, Any]) -> Any:
    return next(iter(found.values()))
