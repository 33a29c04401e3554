# SPDX-License-Identifier: Apache-2.0
"""Lengths of clips, from the headers of their files."""

import math
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import map_in_threads


def read_lengths(clips: Sequence[Clip], *, progress: bool = True) -> list[float | str]:
    """Return the length of each clip in seconds, or why its file cannot be used.

    Only headers are read: files that are cut off or broken further in are found by decoding them.

    Args:
        clips: The clips; each file is opened once, however many clips it holds.
        progress: Whether to show a bar where this takes more than seconds.
    """
    paths = list(dict.fromkeys(clip.path for clip in clips))
    bar = tqdm(total=len(paths), desc="headers", unit="file", delay=2, disable=not progress)
    seconds: dict[Path, float | str] = {}
    with bar:
        for path, length in zip(paths, map_in_threads(_seconds, paths), strict=True):
            seconds[path] = length
            bar.update()
    return [_of_clip(clip, seconds[clip.path]) for clip in clips]


def _seconds(path: Path) -> float | str:
    import soundfile

    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename the file"
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, TypeError):
        return "the file cannot be read as audio"
    length = info.frames / max(1, info.samplerate)
    return length if length > 0 and math.isfinite(length) else "the file holds no audio"


def _of_clip(clip: Clip, length: float | str) -> float | str:
    if isinstance(length, str):
        return length
    start, end = clip.start or 0.0, length if clip.end is None else min(clip.end, length)
    return end - start if end > start else "the segment lies behind the end of the file"
