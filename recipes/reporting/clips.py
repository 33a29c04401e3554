# SPDX-License-Identifier: Apache-2.0
"""Clips to look at and to listen to: spectrogram, the pooler's weights over it, a player."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxadapt.recipes.reporting.page import data_address, percent, text
from voxadapt.recipes.reporting.sounds import Sound, load_sounds

_WIDTH, _HEIGHT = 1000, 300  # of a spectrogram's drawing, stretched to its card
_SHOWN_CLASSES = 4
_MOST_POINTS = 300  # of a curve
_HEADINGS = {
    "best": "right and sure",
    "worst": "wrong and sure",
    "confused": "undecided",
}
_VALUE_HEADINGS = {"best": "least missed", "worst": "most missed", "typical": "typical error"}


def clips_section(
    folder: Path,
    found: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    *,
    left_out: bool,
    uniform: bool,
) -> str:
    """A card for each clip.

    Args:
        folder: The run's folder.
        found: ``clips`` of ``inspection.json``.
        records: Lines of ``predictions.jsonl``.
        left_out: Whether some of the clips that the run kept are not shown.
        uniform: Whether the pooler weighs all frames alike, so that there is nothing to draw.
    """
    by_id = {record["id"]: record for record in records}
    shown = [clip for clip in found if clip["id"] in by_id]
    sounds = list(load_sounds(folder, shown))
    cards = "\n".join(
        _card(clip, by_id[clip["id"]], sound, uniform)
        for clip, sound in zip(shown, sounds, strict=True)
    )
    if uniform:
        line = "The mean pooler weighs all frames alike, so there is no line to draw."
    else:
        line = (
            "The white line is the pooler’s weight over time (thin: each head; dotted: what equal "
            "weights would be)."
        )
    some = "" if not left_out else " Not all the clips that the run kept are shown."
    audio = (
        " The recordings are part of this file: pass it on only where they may be passed on."
        if any(sound.audio for sound in sounds)
        else ""
    )
    return f"""<section id="clips">
<h2>Clips to listen to</h2>
<p class="lead">{line} Log-Mel spectrogram, 20 to 7,600 Hz; a touch plays from there.{some}{audio}
</p>
<div class="clips">
{cards}
</div>
</section>"""


def _card(clip: Mapping[str, Any], record: Mapping[str, Any], sound: Sound, uniform: bool) -> str:
    headings = _VALUE_HEADINGS if "values" in record else _HEADINGS
    kind = headings.get(clip["kind"], clip["kind"])
    speaker = "" if clip["speaker"] is None else f", speaker {clip['speaker']}"
    note = f'<p class="why">{text(sound.missing)}</p>' if sound.missing else ""
    player = ""
    if sound.audio is not None:
        player = (
            f'<audio controls="" preload="metadata" aria-label="{text(clip["id"])}" '
            f'src="{data_address("audio/wav", sound.audio)}"></audio>'
        )
    weights = [] if uniform else [np.array(head) for head in clip["weights"]]
    return f"""<article class="clip-card" data-kind="{text(clip["kind"])}">
<p class="why">{text(kind)}{text(speaker)}</p>
<h3>{_title(record)}</h3>
<p class="id mono"><bdi>{text(clip["id"])}</bdi></p>
{attention_picture(clip["seconds"], sound, weights)}
{_shares(record)}
{note}
{player}
</article>"""


def _title(record: Mapping[str, Any]) -> str:
    if "values" in record:
        return ", ".join(
            f"{text(name)} {value:.2f}<span class='arrow'> → </span>{record['predicted'][name]:.2f}"
            for name, value in record["values"].items()
        ).replace("'", '"')
    label, predicted = (
        f"<bdi>{text(record['label'])}</bdi>",
        f"<bdi>{text(record['predicted'])}</bdi>",
    )
    if record["label"] == record["predicted"]:
        return label
    return f'{label}<span class="arrow"> heard as </span>{predicted}'


def _shares(record: Mapping[str, Any]) -> str:
    if "probabilities" not in record:
        return ""
    likeliest = sorted(record["probabilities"].items(), key=lambda pair: -pair[1])
    rows = "".join(
        f"<span{_true_class(name, record)}><bdi>{text(name)}</bdi></span>"
        f'<svg height="8" aria-hidden="true"><rect class="track" width="100%" height="8" rx="2"/>'
        f'<rect class="{"blue" if name == record["label"] else "wrong"}" '
        f'width="{100 * share:.1f}%" height="8" rx="2"/></svg><span>{percent(share)}</span>'
        for name, share in likeliest[:_SHOWN_CLASSES]
    )
    return f'<div class="shares">{rows}</div>'


def _true_class(name: str, record: Mapping[str, Any]) -> str:
    return ' class="true"' if name == record["label"] else ""


def attention_picture(seconds: float, sound: Sound, weights: Sequence[np.ndarray]) -> str:
    """Draw a spectrogram with the pooler's weights over it, and a ruler below.

    Args:
        seconds: What the weights span.
        sound: The picture of the spectrogram, and what it spans.
        weights: Weights ``[T]`` of each head, relative to equal ones; none draws the spectrogram
            alone.
    """
    if sound.picture is None and not weights:
        return ""
    image = ""
    if sound.picture is not None:
        image = (
            f'<image href="{data_address("image/png", sound.picture)}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" preserveAspectRatio="none"/>'
        )
    drawn, told = "", "spectrogram"
    if weights:
        # The last frame can end a little before the clip, and a long clip is not drawn to its end.
        frames_per_clip = sound.seconds * len(weights[0]) / seconds
        drawn, peak = _attention(weights, frames_per_clip)
        told = f"spectrogram; highest weight {peak:.1f} × the mean"
    return f"""<svg class="spectrogram" role="img" height="96" viewBox="0 0 {_WIDTH} {_HEIGHT}"
 preserveAspectRatio="none" data-seconds="{sound.seconds}">
<title>{text(told)}</title>
{image}{drawn}
<line class="playhead" x1="0" x2="0" y1="0" y2="{_HEIGHT}"/>
</svg>
<p class="ruler"><span>0 s</span><span>{text(told.partition("; ")[2])}</span>
<span>{sound.seconds:.1f} s</span></p>"""


def _attention(heads: Sequence[np.ndarray], span: float) -> tuple[str, float]:
    """Curves of weights relative to equal ones: the heads' mean, each head, and 1.

    Args:
        heads: The weights ``[T]`` of each head.
        span: Frames that the drawing's width stands for.
    """
    shown = [head[: max(1, round(span))] for head in heads]
    mean = np.mean(shown, axis=0)
    highest = 1.05 * max(1.5, *(float(_thin(head).max()) for head in [mean, *shown]))
    line, end = _curve(mean, highest, span)
    parts = [f'<path class="attention" d="{line}L{end} {_HEIGHT}L0 {_HEIGHT}z"/>']
    if len(shown) > 1:
        curves = [_curve(head, highest, span)[0] for head in shown]
        parts += [f'<path class="head" d="{curve}"/>' for curve in curves]
    even = round(_HEIGHT * (1 - 1 / highest), 1)
    parts.append(f'<line class="even" x1="0" x2="{_WIDTH}" y1="{even}" y2="{even}"/>')
    parts.append(f'<path class="mean" d="{line}"/>')
    return "".join(parts), float(mean.max())


def _thin(values: np.ndarray) -> np.ndarray:
    """At most `_MOST_POINTS` values, each the mean of neighbours."""
    parts = np.array_split(values, min(len(values), _MOST_POINTS))
    return np.array([part.mean() for part in parts])


def _curve(values: np.ndarray, highest: float, span: float) -> tuple[str, int]:
    """A path through the middle of each frame, level at both ends, and where it ends."""
    end = round(_WIDTH * min(1.0, len(values) / span))
    values = _thin(values)
    places = [0.0, *((np.arange(len(values)) + 0.5) * end / len(values)), float(end)]
    heights = _HEIGHT * (1 - np.array([values[0], *values, values[-1]]) / highest)
    path = "L".join(f"{x:.0f} {y:.0f}" for x, y in zip(places, heights, strict=True))
    return f"M{path}", end
