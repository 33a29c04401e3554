# SPDX-License-Identifier: Apache-2.0
"""The picture shows what the timeline says, for any number of labels and any length."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voxadapt.recipes.reporting.picture import save_figure
from voxadapt.recipes.timelines.picture import draw_timeline
from voxadapt.timeline import Timeline

Make = Callable[..., Timeline]
SEVEN = list("abcdefg")


def texts_of(axes) -> list[str]:  # type: ignore[no-untyped-def]
    return [text.get_text() for text in axes.texts]


def test_every_segment_is_a_bar_and_wide_ones_are_named(make_timeline: Make) -> None:
    timeline = make_timeline(8, gate=False)
    _, strip, shares = draw_timeline(timeline).axes
    bars = [
        (float(box.x0), float(box.x1))
        for collection in strip.collections
        for box in (path.get_extents() for path in collection.get_paths())
    ]
    segments = timeline.segments()
    assert sorted(bars) == [(one.start, one.end) for one in segments]
    assert texts_of(strip) == [one.label for one in segments]
    assert shares.get_ylim() == (0, 1)
    assert [text.get_text() for text in shares.get_legend().get_texts()] == ["sad", "angry"]


def test_probabilities_lie_on_top_of_one_another(make_timeline: Make) -> None:
    timeline = make_timeline(10)
    *_, shares = draw_timeline(timeline).axes
    # The upper edge of the first label's area at the middle of a window is its probability.
    first = shares.collections[0].get_paths()[0].vertices
    for place, row in enumerate(timeline.smoothed):
        here = first[(first[:, 0] > place - 0.01) & (first[:, 0] < place + 1.01)]
        assert np.isclose(here[:, 1], row[0], atol=1e-6).any()
    top = shares.collections[1].get_paths()[0].vertices
    assert top[:, 1].max() == pytest.approx(1, abs=1e-6)


def test_more_labels_than_colours_are_grey_together(make_timeline: Make) -> None:
    labels = [f"emotion {number}" for number in range(12)]
    timeline = make_timeline(30, {"emotion": labels})
    _, strip, shares = draw_timeline(timeline).axes
    names = [text.get_text() for text in shares.get_legend().get_texts()]
    assert names[0] == "5 others"
    assert len(names) == 8
    shown = set(names[1:])
    means = timeline.overall().probabilities
    assert shown == set(sorted(labels, key=lambda label: -means[label])[:7])
    colours = {tuple(one.get_facecolor()[0]) for one in strip.collections if len(one.get_paths())}
    assert len(colours) <= 8


def test_what_was_not_heard_is_left_blank(make_timeline: Make) -> None:
    timeline = make_timeline(30, gate=True)
    sound, _, shares = draw_timeline(timeline).axes
    for area in shares.collections:
        spans = sorted((path.get_extents().x0, path.get_extents().x1) for path in area.get_paths())
        assert spans == [(0, 9), (10, 19), (20, 29)]
    assert "speech" in texts_of(sound)
    assert "speech" not in texts_of(draw_timeline(make_timeline(30)).axes[0])


def test_a_panel_for_each_column_and_each_dimension(make_timeline: Make) -> None:
    several = make_timeline(20, {"emotion": SEVEN, "speaker": ["s1", "s2"]})
    figure = draw_timeline(several)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "sound",
        "emotion",
        "probability",
        "speaker",
        "probability",
    ]
    values = make_timeline(20, {}, ("arousal", "valence"))
    sound, arousal, valence = draw_timeline(values).axes
    assert (arousal.get_ylabel(), valence.get_ylabel()) == ("arousal", "valence")
    line = valence.lines[0].get_ydata()
    assert line[::2] == pytest.approx(values.smoothed[:, 1])
    assert sound.get_ylabel() == "sound"


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [(1, "0:00.5"), (45, "0:15"), (600, "5:00"), (3 * 3_600, "1:00:00")],
)
def test_times_are_read_as_times(seconds: int, ticks: str, make_timeline: Make) -> None:
    axes = draw_timeline(make_timeline(seconds)).axes[-1]
    figure = axes.figure
    figure.canvas.draw()
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks in shown
    assert 3 <= len(shown) <= 15
    assert axes.get_xlabel() == ("h:min:s" if seconds >= 3_600 else "min:s")


def test_hours_are_drawn_in_no_more_points_than_can_be_seen(
    make_timeline: Make, tmp_path: Path
) -> None:
    timeline = make_timeline(3 * 3_600, gate=True)
    figure = draw_timeline(timeline)
    sound, _, shares = figure.axes
    points = sum(len(path.vertices) for area in shares.collections for path in area.get_paths())
    assert points < 15_000
    assert len(sound.collections[0].get_paths()[0].vertices) < 4_000
    save_figure(figure, tmp_path / "hours.svg")
    assert (tmp_path / "hours.svg").stat().st_size < 3e6


def test_nothing_heard_and_names_that_are_formulas(make_timeline: Make, tmp_path: Path) -> None:
    import dataclasses

    nothing = make_timeline(5, {"$emo$tion": ["$a$", "b_{"]}, name="a$b$.wav")
    nothing = dataclasses.replace(
        nothing, raw=np.full_like(nothing.raw, np.nan), smoothed=np.full_like(nothing.raw, np.nan)
    )
    save_figure(draw_timeline(nothing), tmp_path / "nothing.png")
    some = make_timeline(5, {"$emo$tion": ["$a$", "b_{"]}, name="a$b$.wav")
    save_figure(draw_timeline(some), tmp_path / "some.png")
    assert Image.open(tmp_path / "some.png").width > 1_000
    assert draw_timeline(some).axes[0].get_title(loc="left").startswith(r"a\$b\$.wav")
