# SPDX-License-Identifier: Apache-2.0
"""What the measurements of a corpus's audio mean: findings, with the limits they come from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxadapt.recipes.corpora.audio_quality import AudioQuality
from voxadapt.recipes.corpora.finding import Finding, Severity
from voxadapt.recipes.corpora.measured_clip import MeasuredClip

_QUIET_LEVEL = -55.0  # dB of full scale
_LOUD_PEAK = (
    2.0  # lossy formats overshoot full scale a little; samples that were not scaled do a lot
)
_LENGTH_TOLERANCE = 0.05  # of the length that a column tells; it may have been rounded, or trimmed
_LENGTH_SECONDS = 0.1
_LENGTH_COLUMNS = ("seconds", "duration", "length", "dur", "duration_seconds")
_RATE_TOLERANCE = 0.001
_USUAL_RATE, _ODD_RATE = 0.9, 0.05  # shares of the clips
_SUFFIXES = {
    ".wav": {"WAV", "WAVEX", "RF64"},
    ".flac": {"FLAC"},
    ".ogg": {"OGG"},
    ".mp3": {"MP3"},
    ".aiff": {"AIFF"},
    ".aif": {"AIFF"},
}


@dataclass(frozen=True)
class AudioLimits:
    """Where a measurement becomes a warning.

    Attributes:
        min_seconds: A shorter clip.
        max_seconds: A longer one.
        clipped: A larger share of clipped samples.
        offset: A larger magnitude of the mean, where it is also a tenth of the sound's own level.
    """

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    clipped: float = 0.001
    offset: float = 0.01


def audio_findings(clips: Sequence[MeasuredClip], limits: AudioLimits) -> Iterator[Finding]:
    """Yield what is wrong with each clip's audio.

    Args:
        clips: All clips, with what was measured.
        limits: Where warnings begin.
    """
    rates = Counter(found.quality.rate for found in clips if found.quality.problem is None)
    for found in clips:
        told = (
            [_problem(found.quality)]
            if found.quality.problem
            else _unusual(found.values, found.quality, limits, rates)
        )
        for severity, kind, message, advice in told:
            yield Finding(
                severity,
                kind,
                message,
                advice,
                found.row,
                found.clip.id,
                found.line,
                leave_out=severity == "error",
            )


Told = tuple[Severity, str, str, str]
"""Severity, kind, message and advice."""


def _problem(quality: AudioQuality) -> Told:
    reason, message, advice = quality.problem or ("", "", "")
    kind = "sample rate" if "sample rate" in message else reason
    return "error", kind, message, advice


def _unusual(
    values: dict[str, str], quality: AudioQuality, limits: AudioLimits, rates: Counter[int]
) -> Iterator[Told]:
    if quality.seconds < limits.min_seconds:
        yield (
            "warning",
            "short",
            f"lasts {quality.seconds:.3f} s, less than {limits.min_seconds:g} s",
            "leave it out if it holds no whole word, or set --min-seconds",
        )
    if quality.seconds > limits.max_seconds:
        yield (
            "warning",
            "long",
            f"lasts {quality.seconds:.1f} s, more than {limits.max_seconds:g} s",
            "cut it into utterances (columns start and end), or set --max-seconds",
        )
    if quality.clipped > limits.clipped:
        yield (
            "warning",
            "clipped",
            f"{100 * quality.clipped:.2g} % of its samples are cut off at its peak of "
            f"{quality.peak:.3g}",
            "record it again at a lower level; lowering it now does not bring the peaks back",
        )
    if abs(quality.offset) > max(limits.offset, 0.1 * 10 ** (quality.level / 20)):
        yield (
            "warning",
            "offset",
            f"its mean is {quality.offset:+.3f} of full scale, at a level of "
            f"{quality.level:.0f} dB",
            "take off the mean (a high-pass filter at 20 Hz); the recorder adds a voltage",
        )
    if quality.level < _QUIET_LEVEL:
        yield (
            "warning",
            "quiet",
            f"its level is {quality.level:.0f} dB of full scale",
            "listen whether anybody speaks in it; what there is of it has few bits left",
        )
    if quality.peak > _LOUD_PEAK:
        yield (
            "warning",
            "scale",
            f"its samples go up to {quality.peak:.4g}, where 1 is full scale",
            "divide them by the full scale of the integers that they were made from",
        )
    yield from _rate_doubts(values, quality, rates)
    suffix = Path(values.get("path", "")).suffix.lower()
    if suffix in _SUFFIXES and quality.container not in _SUFFIXES[suffix]:
        yield (
            "note",
            "extension",
            f"its name ends in {suffix}, and it is {quality.container}",
            "rename it; here it is read by its content, other programs may not",
        )


def _rate_doubts(
    values: dict[str, str], quality: AudioQuality, rates: Counter[int]
) -> Iterator[Told]:
    """Signs that the header tells another rate than the samples were taken at."""
    advice = "listen to it: at a wrong rate voices are too high or too low; then correct its header"
    implied = quality.implied_rate
    if implied and abs(implied / quality.rate - 1) > _RATE_TOLERANCE:
        yield (
            "warning",
            "sample rate",
            f"its header says {quality.rate} Hz, and its bytes a second make {implied:.0f} Hz",
            advice,
        )
    usual, clips = rates.most_common(1)[0]
    odd = rates[quality.rate] <= _ODD_RATE * rates.total() and clips >= _USUAL_RATE * rates.total()
    if odd:
        yield (
            "warning",
            "sample rate",
            f"its header says {quality.rate} Hz, where {clips:,} of {rates.total():,} clips have "
            f"{usual} Hz",
            advice,
        )
    told = _told_seconds(values)
    if told and abs(quality.seconds - told) > max(_LENGTH_SECONDS, _LENGTH_TOLERANCE * told):
        yield (
            "warning",
            "length",
            f"lasts {quality.seconds:.3f} s, and the manifest says {told:g} s, "
            f"{told / max(quality.seconds, 1e-9):.3g} times as long",
            "it was cut, or its header tells a wrong rate, or it is not the file that was meant",
        )


def _told_seconds(values: dict[str, str]) -> float | None:
    """The clip's length by a column of the manifest, where there is one."""
    for name in _LENGTH_COLUMNS:
        try:
            seconds = float(values.get(name) or "nan")
        except ValueError:
            continue
        if 0 < seconds < float("inf"):
            return seconds
    return None
