# SPDX-License-Identifier: Apache-2.0
"""How much of one set of clips can be heard in another: segments of a file may overlap."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_seconds

Span = tuple[float, float]
"""Where a segment begins and ends in its file (seconds); the end is infinite where it is the file's
own."""

HEARD = 0.5
"""Share of a clip from which on it counts as heard; turns of a dialogue overlap by less."""

# Seconds: less is how two programs round the same boundary.
_ROUNDING = 1e-3


def heard_shares(heard: Iterable[Clip], clips: Sequence[Clip]) -> dict[int, float]:
    """Find clips whose audio, or a part of it, is also that of others, by file and time.

    Copies under another file name are not found; `check-data` finds them by their samples.

    Args:
        heard: The others, such as those that are trained on.
        clips: The clips, such as those that are scored.

    Returns:
        For the index of each clip that shares audio, how much of it, over 0 to 1. Where a clip goes
        to the end of its file, the file's header tells its length; one that cannot be read counts
        as shared whole.
    """
    spans = _spans_by_file(heard, {clip.path for clip in clips})
    shares = {}
    for index, clip in enumerate(clips):
        if clip.path in spans and (share := _share(clip, spans[clip.path])):
            shares[index] = share
    return shares


def _spans_by_file(clips: Iterable[Clip], files: set[Path]) -> dict[Path, list[Span]]:
    """The stretches of each of these files that the clips cover, apart and in order."""
    found: dict[Path, list[Span]] = defaultdict(list)
    for clip in clips:
        if clip.path in files:
            found[clip.path].append(_span(clip))
    return {path: _joined(spans) for path, spans in found.items()}


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _share(clip: Clip, spans: list[Span]) -> float:
    """Share of a clip that lies in these stretches of its file."""
    start, end = _span(clip)
    first = max(0, bisect_right(spans, (start, math.inf)) - 1)
    shared = 0.0
    for place in range(first, len(spans)):
        if spans[place][0] >= end:
            break
        shared += max(0.0, min(end, spans[place][1]) - max(start, spans[place][0]))
    if shared < _ROUNDING:
        return 0.0
    if math.isinf(shared):
        return 1.0
    seconds = clip_seconds(clip) if math.isinf(end) else end - start
    return min(1.0, shared / seconds) if seconds else 1.0


def _span(clip: Clip) -> Span:
    return clip.start or 0.0, math.inf if clip.end is None else clip.end
