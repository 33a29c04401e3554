# SPDX-License-Identifier: Apache-2.0
"""A model over a long recording: windows from the stream, in batches, to a timeline."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from .allowed_labels import AllowedLabels, allowed_mask
from .audio_source import Audio
from .backbones import SAMPLE_RATE, BackboneSpec
from .backbones.audio_checks import is_silent
from .batched_prediction import predict_batches, seconds_per_batch
from .outputs import LabelOutputs, Outputs
from .prediction import Prediction
from .timeline import Array, Timeline
from .timeline_audio import open_stream
from .timeline_smoothing import smooth_outputs
from .timeline_speech import Gate, Span, append_span, find_speech, seconds_of, spans_within
from .timeline_windows import Window, cut_windows

if TYPE_CHECKING:
    from .classifier import SpeechClassifier

Progress = Callable[[float, float], object]
"""Is told the seconds that are done, and those there are; what it raises stops the work."""

ENVELOPE_STEP = 0.05
"""Seconds of audio to one number of `Timeline.envelope`."""


@dataclass(frozen=True)
class TimelineSettings:
    """How a recording is cut, gated and smoothed.

    Args:
        window: Seconds that the model hears at once. It is surest with about the length of the
            clips that it was trained on.
        hop: Seconds from one window to the next, at most a window.
        smooth: Width of the centred moving mean over the windows' outputs (seconds); None is one
            window, 0 is none.
        vad: What finds speech, ``(samples, rate) -> spans in seconds``; None takes all for speech.
        min_speech: Share of a window's stretch that must be speech for the model to be asked.

    Raises:
        ValueError: A number is out of range, or no number.
    """

    window: float = 3.0
    hop: float = 1.0
    smooth: float | None = None
    vad: Gate | None = None
    min_speech: float = 0.25

    def __post_init__(self) -> None:
        if not (math.isfinite(self.window) and self.window > 0):
            raise ValueError(f"window: found {self.window} s, must be above 0")
        if not 0 < self.hop <= self.window:
            raise ValueError(
                f"hop: found {self.hop} s, must be above 0 and at most the window of "
                f"{self.window} s, or the audio between two windows would never be heard"
            )
        if round(self.hop * SAMPLE_RATE) < 1:
            raise ValueError(f"hop: found {self.hop} s, must be at least one sample at 16 kHz")
        if not (math.isfinite(self.smoothing) and self.smoothing >= 0):
            raise ValueError(f"smooth: found {self.smooth} s, must be 0 or more")
        if not 0 < self.min_speech <= 1:
            raise ValueError(f"min_speech: found {self.min_speech}, must be above 0 and at most 1")
        if self.vad is not None and not callable(self.vad):
            raise ValueError(
                f"vad: found {self.vad!r}, give a callable (samples, rate) -> spans in seconds, "
                "such as voxadapt.timeline_gates.EnergyGate()"
            )

    @property
    def smoothing(self) -> float:
        """Width of the moving mean (seconds)."""
        return self.window if self.smooth is None else self.smooth

    def check_window(self, spec: BackboneSpec) -> None:
        """Refuse windows that do not fill one frame of a backbone.

        Raises:
            ValueError: The window is too short.
        """
        least = max(spec.minimum_samples, spec.receptive_field)
        if round(self.window * SAMPLE_RATE) < least:
            raise ValueError(
                f"window: found {self.window} s, but one frame of {spec.name} needs "
                f"{least / SAMPLE_RATE:g} s; give a window of that at least, better of the length "
                "of the clips that the model was trained on"
            )


def predict_timeline(
    model: "SpeechClassifier",
    source: Audio,
    sample_rate: int | None = None,
    *,
    settings: TimelineSettings,
    batch_seconds: float | None = None,
    allowed_labels: AllowedLabels | None = None,
    progress: Progress | None = None,
) -> Timeline:
    """What a model says of a long recording, over time; see `SpeechClassifier.timeline`."""
    settings.check_window(model.backbone.spec)
    allowed = allowed_mask(model.outputs, allowed_labels)
    columns, dimensions = _names(model.outputs, allowed)
    batch_seconds = seconds_per_batch(model, batch_seconds)
    heard = _Heard(settings.vad)
    rows: list[tuple[float, ...]] = []  # times, stretch, share of speech
    outputs: list[Array] = []
    with open_stream(source, sample_rate) as stream:
        size, hop = (round(time * SAMPLE_RATE) for time in (settings.window, settings.hop))
        windows = cut_windows(heard.listen(stream.pieces), size, hop)
        count = max(1, int(min(batch_seconds / settings.window, sys.maxsize)))
        for batch in _batches(windows, count):
            shares = [heard.speech_share(window) for window in batch]
            asked = [share >= settings.min_speech for share in shares]
            waveforms = [window.samples for window, yes in zip(batch, asked, strict=True) if yes]
            predictions = iter(
                predict_batches(
                    model,
                    waveforms,
                    batch_seconds=batch_seconds,
                    frame_weights=False,
                    allowed=allowed,
                )
            )
            unknown = np.full(sum(map(len, columns.values())) + len(dimensions), np.nan)
            outputs += [_numbers(next(predictions)) if yes else unknown for yes in asked]
            rows += [
                (*window.times, *window.stretch, share)
                for window, share in zip(batch, shares, strict=True)
            ]
            if progress is not None:
                progress(batch[-1].times[1], max(batch[-1].times[1], stream.seconds))
    table, raw = np.array(rows), np.stack(outputs).astype(np.float32)
    lengths = table[:, 3] - table[:, 2]
    return Timeline(
        name=stream.name,
        seconds=heard.samples / SAMPLE_RATE,
        window=settings.window,
        hop=settings.hop,
        smooth=settings.smoothing,
        columns=columns,
        dimensions=dimensions,
        times=table[:, :2],
        stretches=table[:, 2:4],
        speech_share=table[:, 4],
        raw=raw,
        smoothed=smooth_outputs(
            raw, table[:, :2].mean(axis=1), table[:, 4] * lengths, settings.smoothing
        ),
        speech=None if settings.vad is None else heard.speech,
        envelope=heard.envelope(),
        envelope_step=ENVELOPE_STEP,
    )


def _names(outputs: Outputs, allowed: Tensor | None) -> tuple[dict[str, list[str]], list[str]]:
    """Labels by column, without those that are not allowed; and dimensions."""
    if not isinstance(outputs, LabelOutputs):
        return {}, list(outputs.names)
    flags = iter([True] * outputs.size if allowed is None else allowed.tolist())
    columns = {
        name: [label for label in labels if next(flags)] for name, labels in outputs.columns.items()
    }
    return columns, []


def _numbers(prediction: Prediction) -> Array:
    """A prediction's numbers ``[O]`` in the order of the names."""
    shares = [share for column in prediction.columns.values() for share in column.values()]
    return np.array(shares or list(prediction.values.values()))


def _batches(windows: Iterator[Window], count: int) -> Iterator[list[Window]]:
    while batch := list(islice(windows, count)):
        yield batch


class _Heard:
    """What is kept of the audio that has gone by: speech, and how loud it was."""

    def __init__(self, gate: Gate | None) -> None:
        self.gate = gate
        self.speech: list[Span] = []
        self.samples = 0
        self._peaks: list[Array] = []
        self._rest = np.empty(0, dtype=np.float32)  # less than a step of the envelope

    def listen(self, pieces: Iterator[Tensor]) -> Iterator[Tensor]:
        """Pass the audio on; where in it speech is, is known by then."""
        if self.gate is None:
            for piece in pieces:
                self._measure(piece)
                yield piece
            return
        for piece, spans in find_speech(pieces, self.gate):
            for span in spans:
                append_span(self.speech, span)
            self._measure(piece)
            yield piece

    def speech_share(self, window: Window) -> float:
        """Share of a window's stretch that is speech: by the gate, or all that is not silence."""
        start, end = window.stretch
        if is_silent(window.samples):
            return 0.0
        if self.gate is None:
            return 1.0
        return min(1.0, seconds_of(spans_within(self.speech, start, end)) / (end - start))

    def envelope(self) -> Array:
        """The highest amplitude in each step ``[M]``."""
        rest = [self._rest.max(keepdims=True)] if len(self._rest) else []
        return np.concatenate([*self._peaks, *rest])

    def _measure(self, piece: Tensor) -> None:
        self.samples += len(piece)
        step = round(ENVELOPE_STEP * SAMPLE_RATE)
        samples = np.concatenate([self._rest, np.abs(piece.numpy())])
        whole = len(samples) // step * step
        self._peaks.append(samples[:whole].reshape(-1, step).max(axis=1))
        self._rest = samples[whole:]
