# SPDX-License-Identifier: Apache-2.0
"""A timeline as a picture: the sound, the labels, and what speaks for each of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from voxadapt.recipes.reporting.picture import BLUE, GREY, new_figure
from voxadapt.timeline import Array, Timeline
from voxadapt.timeline_speech import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by people who do not see all colours too (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442")
_OTHERS = "#b5b5b5"
_SOUND, _SPEECH = "#777777", "#222222"
_WIDTH = 11.0  # inches
_SOUND_HEIGHT, _STRIP_HEIGHT, _PANEL_HEIGHT = 0.9, 0.32, 1.7
# More columns than that cannot be seen, and would make an SVG of hours of audio large.
_MOST_COLUMNS = 1_500
_INCHES_A_LETTER = 0.075
_TICK_SECONDS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900),
    *(1_800, 3_600, 7_200, 14_400, 28_800, 86_400),
)
_MOST_TICKS = 12


def draw_timeline(timeline: Timeline) -> "Figure":
    """Draw the loudness, and for each label column its segments and probabilities, or the values.

    Seven labels at most have a colour of their own: the most probable ones. The others are shown
    together in grey. What the gate takes for speech is marked under the loudness.

    Args:
        timeline: What a model said of a recording.

    Returns:
        The figure; `voxadapt.recipes.reporting.picture.save_figure` writes it.
    """
    panels = [_STRIP_HEIGHT, _PANEL_HEIGHT] * len(timeline.columns)
    panels += [0.8 * _PANEL_HEIGHT] * len(timeline.dimensions)
    heights = [_SOUND_HEIGHT, *panels]
    figure = new_figure(_WIDTH, 0.9 + sum(heights) + 0.12 * len(heights))
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    _draw_sound(rows[0], timeline)
    for place, column in enumerate(timeline.columns):
        colours = _label_colours(timeline, column)
        _draw_segments(rows[1 + 2 * place], timeline, column, colours)
        _draw_shares(rows[2 + 2 * place], timeline, column, colours)
    for place, name in enumerate(timeline.dimensions):
        _draw_values(rows[1 + place], timeline, place, name)
    for axes in rows:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=2, colors=GREY, labelsize=9)
        axes.tick_params(axis="x", bottom=axes is rows[-1])
        axes.set_xlim(0, max(timeline.seconds, 1e-3))
    _label_time(rows[-1], timeline.seconds)
    rows[0].set_title(_title(timeline), loc="left", fontsize=10)
    return figure


def _draw_sound(axes: "Axes", timeline: Timeline) -> None:
    peaks = timeline.envelope
    group = -(-len(peaks) // _MOST_COLUMNS)
    if len(peaks) % group:
        peaks = np.pad(peaks, (0, group - len(peaks) % group))
    peaks = peaks.reshape(-1, group).max(axis=1)
    times = (np.arange(len(peaks)) + 0.5) * group * timeline.envelope_step
    top = max(float(peaks.max()), 1e-9)
    axes.fill_between(times, -peaks / top, peaks / top, color=_SOUND, linewidth=0)
    axes.set_ylim(-1.35, 1.05)
    axes.set_yticks([])
    axes.set_ylabel("sound", rotation=0, ha="right", va="center", fontsize=9, color=GREY)
    if timeline.speech is not None:
        bars = [(start, end - start) for start, end in _joined(timeline.speech, timeline.seconds)]
        axes.broken_barh(bars, (-1.3, 0.18), color=_SPEECH, linewidth=0)
        axes.annotate(
            "speech",
            (1.005, 0.06),
            xycoords="axes fraction",
            fontsize=8,
            color=_SPEECH,
            va="center",
        )


def _joined(spans: Sequence[Span], seconds: float) -> list[Span]:
    """Spans with the gaps closed that are too narrow to be seen."""
    found: list[Span] = []
    for start, end in spans:
        if found and start - found[-1][1] < seconds / _MOST_COLUMNS:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


def _label_colours(timeline: Timeline, column: str) -> dict[str, str]:
    """A colour for each label; grey for the least probable ones, if there are too many."""
    labels = timeline.columns[column]
    shares = timeline.overall().columns.get(column) or dict.fromkeys(labels, 0.0)
    own = set(sorted(labels, key=lambda label: -shares[label])[: len(_COLOURS)])
    colours = iter(_COLOURS)
    return {label: next(colours) if label in own else _OTHERS for label in labels}


def _draw_segments(
    axes: "Axes", timeline: Timeline, column: str, colours: Mapping[str, str]
) -> None:
    segments = timeline.segments(column)
    for label, colour in colours.items():
        bars = [(one.start, one.end - one.start) for one in segments if one.label == label]
        axes.broken_barh(bars, (0, 1), color=colour, linewidth=0)
    for one in segments:
        inches = (one.end - one.start) / timeline.seconds * 0.85 * _WIDTH
        if inches > _INCHES_A_LETTER * len(one.label) + 0.05:
            axes.text(
                (one.start + one.end) / 2,
                0.47,
                _plain(one.label),
                ha="center",
                va="center",
                fontsize=8,
                color=_readable_on(colours[one.label]),
            )
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(_plain(column), rotation=0, ha="right", va="center", fontsize=9, color=GREY)


def _draw_shares(axes: "Axes", timeline: Timeline, column: str, colours: Mapping[str, str]) -> None:
    times, rows = _steps(timeline, timeline.smoothed[:, timeline.slots()[column]])
    lower = np.zeros(len(times))
    # The grey ones lie on top of one another, above the others.
    order = sorted(colours, key=lambda label: colours[label] == _OTHERS)
    places = {label: place for place, label in enumerate(timeline.columns[column])}
    names: dict[str, str] = {}
    for label in order:
        upper = lower + np.nan_to_num(rows[:, places[label]])
        here = ~np.isnan(rows[:, 0])
        axes.fill_between(times, lower, upper, where=here, color=colours[label], linewidth=0)
        names.setdefault(colours[label], _plain(label))
        lower = upper
    others = sum(colour == _OTHERS for colour in colours.values())
    if others:
        names[_OTHERS] = f"{others} others"
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axes.set_ylabel("probability", fontsize=9, color=GREY)
    _add_legend(axes, names)


def _add_legend(axes: "Axes", names: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=colour, label=_shortened(name))
        for colour, name in reversed(list(names.items()))
    ]
    axes.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=9,
        handlelength=1,
        handleheight=1,
    )


def _draw_values(axes: "Axes", timeline: Timeline, place: int, name: str) -> None:
    times, rows = _steps(timeline, timeline.smoothed[:, place : place + 1])
    axes.plot(times, rows[:, 0], color=BLUE, linewidth=1.5)
    mean = timeline.overall().values.get(name)
    if mean is not None:
        axes.axhline(mean, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            f"mean {mean:.3g}", (1.005, mean), xycoords=("axes fraction", "data"), fontsize=8,
            color=GREY, va="center",
        )  # fmt: skip
    axes.margins(y=0.15)
    axes.set_ylabel(_plain(name), fontsize=9, color=GREY)


def _steps(timeline: Timeline, numbers: Array) -> tuple[Array, Array]:
    """Both ends of every stretch ``[2N]``, and the numbers there ``[2N, C]``.

    Where there are more stretches than columns of a picture, some together are one: its numbers
    are the mean over those that have any.
    """
    group = -(-len(numbers) // _MOST_COLUMNS)
    starts = timeline.stretches[::group, 0]
    ends = np.append(starts[1:], timeline.stretches[-1, 1])
    if group > 1:
        missing = len(starts) * group - len(numbers)
        padded: Any = np.pad(numbers, ((0, missing), (0, 0)), constant_values=np.nan)
        padded = padded.reshape(len(starts), group, -1)  # [M, group, C]
        present = ~np.isnan(padded)
        with np.errstate(invalid="ignore"):
            numbers = np.where(present, padded, 0.0).sum(axis=1) / present.sum(axis=1)
    return np.stack([starts, ends], axis=1).reshape(-1), numbers.repeat(2, axis=0)


def _label_time(axes: "Axes", seconds: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    step = next(
        (step for step in _TICK_SECONDS if seconds / step <= _MOST_TICKS), _TICK_SECONDS[-1]
    )
    axes.xaxis.set_major_locator(MultipleLocator(step))
    hours = seconds >= 3_600

    def text(time: float, _: object) -> str:
        minutes, rest = divmod(round(time, 3), 60)
        shown = f"{rest:04.1f}" if step < 1 else f"{rest:02.0f}"
        if hours:
            return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{shown}"
        return f"{int(minutes)}:{shown}"

    axes.xaxis.set_major_formatter(FuncFormatter(text))
    axes.set_xlabel("h:min:s" if hours else "min:s", fontsize=9, color=GREY)


def _title(timeline: Timeline) -> str:
    overall = timeline.overall()
    parts = [_shortened(timeline.name.rsplit("/", 1)[-1], 60)]
    for name, shares in overall.columns.items():
        if shares:
            label = max(shares, key=lambda one: shares[one])
            which = _plain(name) if len(overall.columns) > 1 else "over all"
            parts.append(f"{which} {_shortened(label)} {shares[label]:.2f}")
    parts.append(f"windows of {timeline.window:g} s every {timeline.hop:g} s")
    if timeline.smooth:
        parts.append(f"mean over {timeline.smooth:g} s")
    return "   ·   ".join(parts)


def _shortened(name: str, most: int = 18) -> str:
    return _plain(name if len(name) <= most else name[: most - 1] + "…")


def _plain(name: str) -> str:
    """A name as matplotlib draws it letter by letter: a dollar sign would begin a formula."""
    return " ".join(name.split()).replace("$", r"\$")


def _readable_on(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
