# SPDX-License-Identifier: Apache-2.0
"""A clip of a checked manifest with what was measured of its audio."""

from dataclasses import dataclass

from voxadapt.recipes.corpora.audio_quality import AudioQuality
from voxadapt.recipes.corpora.clip import Clip


@dataclass(frozen=True)
class MeasuredClip:
    """One row that is a clip.

    Attributes:
        row: Index of its row, counted from 0.
        line: Its line in the manifest; None in a folder.
        values: What stands in the row, by column.
        clip: The clip.
        quality: What was measured.
    """

    row: int
    line: int | None
    values: dict[str, str]
    clip: Clip
    quality: AudioQuality
