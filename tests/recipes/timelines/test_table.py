# SPDX-License-Identifier: Apache-2.0
"""What a terminal shows of a timeline."""

from collections.abc import Callable

import numpy as np
import pytest

from voxadapt.recipes.timelines.table import clock, timeline_table
from voxadapt.timeline import Timeline

Make = Callable[..., Timeline]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00.0"),
        (59.96, "1:00.0"),
        (61.25, "1:01.2"),
        (3_599.99, "1:00:00.0"),
        (7_325.5, "2:02:05.5"),
    ],
)
def test_times(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_segments(make_timeline: Make) -> None:
    timeline = make_timeline(20, gate=True)
    first, overall, heads, *rows = timeline_table(timeline).splitlines()
    assert first == "folder/call.wav  0:20.0, 0:18.0 of it speech (18 of 20 windows heard)"
    assert overall.startswith(f"  over all  {timeline.overall().label} ")
    assert heads.split() == ["start", "end", "label", "probability"]
    found = [row.split() for row in rows]
    assert found == [
        [clock(one.start), clock(one.end), one.label, f"{one.probability:.2f}"]
        for one in timeline.segments()
    ]


def test_several_columns(make_timeline: Make) -> None:
    shown = timeline_table(make_timeline(5, {"emotion": ["a", "b"], "speaker": ["s1", "s2"]}))
    assert "over all emotion  " in shown
    assert "over all speaker  " in shown


def test_values(make_timeline: Make) -> None:
    timeline = make_timeline(10, {}, ("arousal", "valence"), gate=True)
    _, overall, heads, *rows = timeline_table(timeline).splitlines()
    assert overall.startswith("  over all  arousal ")
    assert heads.split() == ["start", "end", "arousal", "valence"]
    assert len(rows) == 9
    start, end, arousal, _ = rows[3].split()
    assert (start, end) == ("0:03.0", "0:04.0")
    assert float(arousal) == pytest.approx(timeline.smoothed[3, 0], rel=1e-3)


def test_nothing_heard(make_timeline: Make) -> None:
    import dataclasses

    timeline = make_timeline(5)
    nothing = dataclasses.replace(timeline, raw=np.full_like(timeline.raw, np.nan))
    assert timeline_table(nothing).splitlines()[1:] == ["  no speech was found"]
