# SPDX-License-Identifier: Apache-2.0
"""The recordings that a run has kept of test clips, as far as a page has room for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from voxadapt.backbones.audio import SAMPLE_RATE
from voxadapt.recipes.reporting.clip_inspection import CLIPS_FOLDER
from voxadapt.recipes.reporting.clip_pictures import LONGEST_SECONDS, decode_wav, draw_spectrogram

# Of the sound in one page, encoded; a page of more could not be mailed.
MOST_AUDIO_BYTES = 6_000_000


@dataclass
class Sound:
    """What of a clip's audio stands in the page.

    Attributes:
        picture: PNG of its spectrogram; None where the audio could not be read.
        audio: WAV; None where it could not be read, or the page is full.
        seconds: What they span.
        missing: Why there is no picture or no sound; empty where there is.
    """

    picture: bytes | None
    audio: bytes | None
    seconds: float
    missing: str = ""


def load_sounds(folder: Path, clips: Sequence[Mapping[str, Any]]) -> Iterator[Sound]:
    """Read the clips' recordings, one after the other, until the page is full.

    Args:
        folder: The run's folder.
        clips: ``clips`` of ``inspection.json``.
    """
    total = 0
    for clip in clips:
        read = read_sound(folder, clip["sound"])
        if isinstance(read, str):
            seconds = min(clip["seconds"], LONGEST_SECONDS)
            why = clip["missing"] or read
            yield Sound(None, None, seconds, f"The recording is missing ({why}).")
            continue
        audio, waveform = read
        seconds = len(waveform) / SAMPLE_RATE
        picture = draw_spectrogram(waveform)
        total += len(audio)
        if total > MOST_AUDIO_BYTES:
            full = f"Without sound: the page holds {MOST_AUDIO_BYTES / 1e6:.0f} MB of it already."
            yield Sound(picture, None, seconds, full)
        else:
            longer = clip["seconds"] > LONGEST_SECONDS
            told = f"The first {LONGEST_SECONDS:.0f} s of {clip['seconds']:.0f}." if longer else ""
            yield Sound(picture, audio, seconds, told)


def read_sound(folder: Path, name: str) -> tuple[bytes, Tensor] | str:
    """Read a recording of a run.

    Args:
        folder: The run's folder.
        name: Its path in there, as ``inspection.json`` has it.

    Returns:
        The file and its samples ``[S]``, or why there are none.
    """
    # Whoever gets a run from others must not put another file of theirs into a page.
    path = folder / CLIPS_FOLDER / Path(name).name
    if not name or not path.is_file():
        return "its copy in the run’s folder is gone"
    content = path.read_bytes()
    try:
        return content, decode_wav(content)
    except RuntimeError:  # libsndfile's
        return "its copy in the run’s folder is damaged"
