# SPDX-License-Identifier: Apache-2.0
"""The content of an uploaded file becomes samples, unless it is too long or no audio."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from voxadapt.backbones import AudioError
from voxadapt.backbones.audio import audio_seconds, read_audio
from voxadapt.recipes.serving.refusal import RefusedError


@dataclass(frozen=True)
class UploadedAudio:
    """A file that someone sent.

    Attributes:
        name: What its sender calls it, for messages only; never a path to open.
        content: The file.
    """

    name: str
    content: bytes

    def read(self) -> bytes:
        """The content."""
        return self.content


def read_clip(source: UploadedAudio | Path, longest: float) -> Tensor:
    """Decode a file that is no longer than allowed.

    Args:
        source: The file.
        longest: Seconds.

    Returns:
        Samples ``[S]`` float32 at 16 kHz.

    Raises:
        RefusedError: It is too long, or cannot be used.
    """
    check_length(source, longest, "--max-seconds")
    try:
        return read_audio(source)
    except AudioError as error:
        raise refuse_audio(error) from error


def check_length(source: UploadedAudio | Path, longest: float, option: str) -> float:
    """The length in seconds of a file that is no longer than allowed, by its header.

    Raises:
        RefusedError: It is too long, or is no audio.
    """
    try:
        seconds = audio_seconds(source)
    except AudioError as error:
        raise refuse_audio(error) from error
    # A file that does not say its length (infinite) is refused when it is read, with the reason.
    if longest < seconds < float("inf"):
        raise RefusedError(
            422,
            "too_long",
            f"{source.name}: found {seconds:,.1f} s, allowed are {longest:g} s ({option}). Send a "
            "part of it.",
        )
    return seconds


def refuse_audio(error: AudioError) -> RefusedError:
    """The refusal of audio that cannot be used; its code is the reason."""
    return RefusedError(422, error.reason.replace(" ", "_"), error.message)
