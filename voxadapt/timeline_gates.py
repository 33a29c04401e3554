# SPDX-License-Identifier: Apache-2.0
"""Gates that come with the package: by energy, and by silero-vad."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .extras import install_command
from .timeline_speech import Gate, Span, append_span

_FRAME_SECONDS = 0.03
_STEP_SECONDS = 0.01


@dataclass(frozen=True)
class EnergyGate:
    """Takes for speech what is loud for the recording; needs no package.

    A frame of 30 ms is speech where its level is above the floor, `above_noise` over the quiet
    parts (the level that a tenth of the frames stay below), and no more than `below_loud` under the
    loud ones (the level that a twentieth exceed). It tells sound from quiet and not speech from
    music: with more than pauses between the speech, use `SileroGate`.

    Args:
        floor: Level below which nothing is speech (dB of full scale).
        above_noise: How far above the quiet parts speech is (dB).
        below_loud: How far below the loud parts speech may be (dB).
        pause: Pauses shorter than this are taken for a part of the speech (seconds).
        shortest: Sounds shorter than this are not speech (seconds).
        padding: Added before and after (seconds): words begin and end quietly.

    Raises:
        ValueError: A length or difference is below 0.
    """

    floor: float = -55.0
    above_noise: float = 8.0
    below_loud: float = 35.0
    pause: float = 0.3
    shortest: float = 0.1
    padding: float = 0.1

    def __post_init__(self) -> None:
        for name in ("above_noise", "below_loud", "pause", "shortest", "padding"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, must be 0 or more")

    def __call__(self, samples: np.ndarray[Any, Any], rate: int) -> list[Span]:
        """Find speech in samples ``[S]`` at a rate (Hz)."""
        levels = frame_levels(samples, rate)
        quiet, loud = np.percentile(levels, (10, 95))
        threshold = max(self.floor, quiet + self.above_noise, loud - self.below_loud)
        spans: list[Span] = []
        for first, last in _runs(levels > threshold):
            span = first * _STEP_SECONDS, (last - 1) * _STEP_SECONDS + _FRAME_SECONDS
            if spans and span[0] - spans[-1][1] < self.pause:
                spans[-1] = spans[-1][0], span[1]
            else:
                spans.append(span)
        seconds = len(samples) / rate
        padded: list[Span] = []
        for start, end in spans:
            if end - start >= self.shortest:
                span = max(0.0, start - self.padding), min(seconds, end + self.padding)
                append_span(padded, span)
        return padded


def frame_levels(samples: np.ndarray[Any, Any], rate: int) -> np.ndarray[Any, Any]:
    """Level of each 30 ms, every 10 ms, in dB of full scale; the offset is taken out.

    Args:
        samples: ``[S]`` float.
        rate: Samples per second (Hz).

    Returns:
        ``[F]`` with at least one frame.
    """
    frame, step = round(_FRAME_SECONDS * rate), round(_STEP_SECONDS * rate)
    samples = np.asarray(samples, dtype=np.float64)
    if len(samples) < frame:
        samples = np.pad(samples, (0, frame - len(samples)))
    # Sums up to each sample, so that no frame is added up by itself.
    sums = np.concatenate([[0.0], np.cumsum(samples)])
    squares = np.concatenate([[0.0], np.cumsum(samples**2)])
    starts = np.arange(0, len(samples) - frame + 1, step)
    means = (sums[starts + frame] - sums[starts]) / frame
    power = (squares[starts + frame] - squares[starts]) / frame - means**2
    return 10 * np.log10(np.maximum(power, 1e-10))


def _runs(mask: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Where a mask ``[F]`` is true: first index, and the one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


class SileroGate:
    """Speech by silero-vad, a small network that comes inside its package (extra `vad`).

    Args:
        threshold: Probability above which 32 ms are speech.

    Raises:
        ImportError: silero-vad is not installed.
        ValueError: The threshold is not between 0 and 1.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold: found {threshold}, must be between 0 and 1")
        threads = torch.get_num_threads()
        try:
            import silero_vad
        except ImportError as error:
            raise ImportError(
                f"silero-vad is not installed: {install_command('vad')}, or use the gate "
                "'energy', which needs no package"
            ) from error
        torch.set_num_threads(threads)  # importing it sets one thread for the whole process
        self.threshold = threshold
        self._find = silero_vad.get_speech_timestamps
        self._model = silero_vad.load_silero_vad()
        self._lock = threading.Lock()  # the network keeps what it has heard

    def __call__(self, samples: np.ndarray[Any, Any], rate: int) -> Iterable[Span]:
        """Find speech in samples ``[S]`` at 16 kHz."""
        waveform = torch.from_numpy(samples)
        with self._lock:
            found = self._find(waveform, self._model, sampling_rate=rate, threshold=self.threshold)
        return [(span["start"] / rate, span["end"] / rate) for span in found]


GATES = ("none", "energy", "silero")


def build_gate(name: str) -> Gate | None:
    """A gate by its name; None for `none`.

    Raises:
        ImportError: `silero` is asked for and not installed.
        ValueError: There is no such gate.
    """
    if name == "none":
        return None
    if name == "energy":
        return EnergyGate()
    if name == "silero":
        return SileroGate()
    raise ValueError(f"vad: found {name!r}, allowed: {', '.join(GATES)}")
