# SPDX-License-Identifier: Apache-2.0
"""What a model says of a long recording, over time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from .timeline_speech import Span, seconds_of, spans_within

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TimelineWindow:
    """One window of a timeline.

    Attributes:
        start: Where what the model heard begins (seconds).
        end: Where it ends.
        stretch_start: Where the stretch begins that the window stands for (seconds): up to half-way
            to the next window's middle.
        stretch_end: Where it ends.
        speech: Share of the stretch that is speech, 0 to 1.
        label: The most probable label of the first column, smoothed; None where there is too little
            speech, and for values.
        probabilities: Probability by label of that column, smoothed; empty where there is too
            little speech, and for values.
        columns: Probabilities by label, for each column of labels.
        values: Value of each dimension, smoothed, of a model that predicts values.
    """

    start: float
    end: float
    stretch_start: float
    stretch_end: float
    speech: float
    label: str | None
    probabilities: dict[str, float]
    columns: dict[str, dict[str, float]]
    values: dict[str, float]


@dataclass(frozen=True)
class Segment:
    """A part of a recording with one label.

    Attributes:
        start: Where it begins (seconds).
        end: Where it ends.
        label: The most probable label, smoothed, of all its windows.
        probability: The label's mean probability over them.
    """

    start: float
    end: float
    label: str
    probability: float


@dataclass(frozen=True)
class Overall:
    """What a timeline says of the recording as a whole.

    Attributes:
        label: The most probable label of the first column; None for values, and where there was no
            speech.
        probabilities: Mean probability by label of that column over the time with speech, before
            smoothing; empty where there was none.
        columns: The same for each column.
        values: Mean value of each dimension over that time.
        seconds_by_label: For each column, how long the segments of each label are together.
        speech_seconds: How much was speech, or, without a gate, was not digital silence.
    """

    label: str | None
    probabilities: dict[str, float]
    columns: dict[str, dict[str, float]]
    values: dict[str, float]
    seconds_by_label: dict[str, dict[str, float]]
    speech_seconds: float


@dataclass(frozen=True)
class Timeline:
    """What a model says of a long recording, over time; `SpeechClassifier.timeline` makes one.

    ``N`` windows, ``O`` outputs: the labels of all columns side by side, or the dimensions.

    Attributes:
        name: What the recording is called.
        seconds: Its length.
        window: Length of a window (seconds).
        hop: From one window to the next (seconds).
        smooth: Width of the moving mean (seconds).
        columns: The labels, by the name of their column; empty for a model of values.
        dimensions: The names of the values; empty for a model of labels.
        times: ``[N, 2]`` from when to when each window heard (seconds).
        stretches: ``[N, 2]`` from when to when each stands for the recording; side by side.
        speech_share: ``[N]`` share of each stretch that is speech.
        raw: ``[N, O]`` float32, what the model said of each window; NaN where it was not asked,
            since there was too little speech, or nothing but digital silence.
        smoothed: ``[N, O]`` float32, the moving mean of it.
        speech: Where the gate found speech, in order; None without a gate.
        envelope: ``[M]`` float32, the highest amplitude in each `envelope_step`.
        envelope_step: Seconds.
    """

    name: str
    seconds: float
    window: float
    hop: float
    smooth: float
    columns: Mapping[str, Sequence[str]]
    dimensions: Sequence[str]
    times: Array = field(repr=False)
    stretches: Array = field(repr=False)
    speech_share: Array = field(repr=False)
    raw: Array = field(repr=False)
    smoothed: Array = field(repr=False)
    speech: list[Span] | None = field(repr=False)
    envelope: Array = field(repr=False)
    envelope_step: float

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.times)

    @property
    def latency(self) -> float:
        """How much later than a moment the last audio is that its label depends on (seconds).

        Half a window, which is centred on it, and half of the moving mean. The gate is not counted:
        it hears up to 32 s at once.
        """
        return (min(self.window, self.seconds) + self.smooth) / 2

    @property
    def heard(self) -> Array:
        """``[N]`` bool: the windows that the model was asked about."""
        return ~np.isnan(self.raw.sum(axis=1))

    def slots(self) -> dict[str, slice]:
        """Where each label column's outputs stand among the ``O``."""
        found, start = {}, 0
        for name, labels in self.columns.items():
            found[name] = slice(start, start + len(labels))
            start += len(labels)
        return found

    def windows(self) -> Iterator[TimelineWindow]:
        """All windows in order, with names to their numbers."""
        for row in range(len(self)):
            columns, values = self._named(self.smoothed[row])
            first = next(iter(columns.values()), {})
            yield TimelineWindow(
                start=float(self.times[row, 0]),
                end=float(self.times[row, 1]),
                stretch_start=float(self.stretches[row, 0]),
                stretch_end=float(self.stretches[row, 1]),
                speech=float(self.speech_share[row]),
                label=most_probable(first),
                probabilities=first,
                columns=columns,
                values=values,
            )

    def segments(self, column: str | None = None) -> list[Segment]:
        """Stretches of one label joined to segments, which end where the gate says speech does.

        Args:
            column: Which column of labels; None is the first.

        Returns:
            In order; none for a model of values.

        Raises:
            ValueError: There is no such column.
        """
        if not self.columns:
            return []
        shares = self.smoothed[:, self.slots()[self._column(column)]]  # [N, C]
        labels = list(self.columns[self._column(column)])
        chosen = np.where(self.heard, np.nan_to_num(shares, nan=-1.0).argmax(axis=1), -1)  # [N]
        edges = np.flatnonzero(np.diff(chosen, prepend=-2, append=-2))
        found = []
        for first, last in pairwise(edges):
            label = int(chosen[first])
            if label < 0:
                continue
            start, end = float(self.stretches[first, 0]), float(self.stretches[last - 1, 1])
            if self.speech is not None:
                inside = spans_within(self.speech, start, end)
                start, end = inside[0][0], inside[-1][1]
            lengths = self.stretches[first:last, 1] - self.stretches[first:last, 0]
            mean = np.average(shares[first:last, label], weights=lengths)
            found.append(Segment(start, end, labels[label], float(mean)))
        return found

    def overall(self) -> Overall:
        """What it says of the recording as a whole.

        The mean over windows counts each by the seconds of speech that it stands for, so that
        windows which overlap by more than others do not count double.
        """
        weights = np.where(self.heard, self.weights, 0.0)
        columns: dict[str, dict[str, float]] = {name: {} for name in self.columns}
        values: dict[str, float] = {}
        if weights.any():
            mean = np.average(np.nan_to_num(self.raw), axis=0, weights=weights)
            columns, values = self._named(mean)
        first = next(iter(columns.values()), {})
        return Overall(
            label=most_probable(first),
            probabilities=first,
            columns=columns,
            values=values,
            seconds_by_label={name: self._seconds_by_label(name) for name in self.columns},
            speech_seconds=(
                float(weights.sum()) if self.speech is None else seconds_of(self.speech)
            ),
        )

    @property
    def weights(self) -> Array:
        """``[N]`` seconds of speech that each window stands for."""
        return self.speech_share * (self.stretches[:, 1] - self.stretches[:, 0])

    def _seconds_by_label(self, column: str) -> dict[str, float]:
        seconds = dict.fromkeys(self.columns[column], 0.0)
        for segment in self.segments(column):
            seconds[segment.label] += segment.end - segment.start
        return seconds

    def _named(self, row: Array) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        """One row ``[O]`` as probabilities by label by column, and values by dimension."""
        if np.isnan(row).any():
            return {name: {} for name in self.columns}, {}
        if not self.columns:
            return {}, dict(zip(self.dimensions, map(float, row), strict=True))
        return {
            name: dict(zip(self.columns[name], map(float, row[slot]), strict=True))
            for name, slot in self.slots().items()
        }, {}

    def _column(self, column: str | None) -> str:
        if column is None:
            return next(iter(self.columns))
        if column not in self.columns:
            raise ValueError(f"column: found {column!r}, allowed: {', '.join(self.columns)}")
        return column


def most_probable(shares: Mapping[str, float]) -> str | None:
    """The label with the largest share, the first of them; None where there are none."""
    return max(shares, key=lambda label: shares[label]) if shares else None
