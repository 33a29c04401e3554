# SPDX-License-Identifier: Apache-2.0
"""Maps of the test clips' embeddings, coloured by label and by speaker."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxadapt.recipes.reporting.page import text
from voxadapt.recipes.reporting.style import GROUP_COLOURS

_SIZE, _EDGE = 440, 14
# A shape for each ten groups; more of them than this share colour and shape.
_SHAPES = (
    "M{x} {y}m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "M{x} {y}m-4 -4h8v8h-8z",
    "M{x} {y}m0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    "M{x} {y}m0 -5l5 9h-10z",
)
_LISTED = 40  # groups in a legend


@dataclass(frozen=True)
class Point:
    """A clip on a map.

    Attributes:
        x: From 0 to 1.
        y: From 0 to 1.
        told: What is told of it.
        missed: Whether it was predicted wrongly.
    """

    x: float
    y: float
    told: str
    missed: bool


def embeddings_section(found: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Two maps of the same points, or one where no speaker is known.

    Args:
        found: ``map`` of ``inspection.json``.
        records: Lines of ``predictions.jsonl``.
    """
    by_id = {record["id"]: record for record in records}
    shown = [(point, by_id[point["id"]]) for point in found["points"] if point["id"] in by_id]
    points = [
        Point(point["x"], point["y"], _tell(record), record["predicted"] != record["label"])
        for point, record in shown
    ]
    maps = [_map("by label", points, [str(record["label"]) for _, record in shown], "label")]
    speakers = [record.get("speaker") for _, record in shown]
    if any(speaker is not None for speaker in speakers):
        names = ["unknown" if speaker is None else str(speaker) for speaker in speakers]
        maps.append(_map("by speaker", points, names, "speaker"))
    part = "" if len(points) == found["clips"] else f"{len(points):,} of {found['clips']:,} clips. "
    return f"""<section id="embeddings">
<h2>Map of the clips</h2>
<p class="lead">{part}What the pooler made of each test clip, laid out so that alike clips are
neighbours ({text(found["method"])}, seed {found["seed"]}); distances further off mean nothing.
Ringed clips were predicted wrongly. Good features gather clips by label, and mix the
speakers. Point at a clip, or choose a name below a map.</p>
<div class="charts maps">
{"".join(maps)}
</div>
</section>"""


def _tell(record: Mapping[str, Any]) -> str:
    told = f"{record['id']}\n{record['label']}"
    if record["predicted"] != record["label"]:
        told += f", predicted {record['predicted']}"
    if record.get("speaker") is not None:
        told += f"\nspeaker {record['speaker']}"
    return told


def _map(title: str, points: Sequence[Point], groups: Sequence[str], kind: str) -> str:
    sizes = Counter(groups)
    names = sorted(sizes) if kind == "label" else [name for name, _ in sizes.most_common()]
    number = {name: place for place, name in enumerate(names)}
    dots = "".join(
        _dot(row, point, number[group])
        for row, (point, group) in enumerate(zip(points, groups, strict=True))
    )
    keys = "".join(_key(name, number[name], sizes[name]) for name in names[:_LISTED])
    if len(names) > _LISTED:
        keys += f'<span class="faint">and {len(names) - _LISTED} more</span>'
    summary = f"{len(points)} clips {title}, {len(names)} {kind}{'s' * (len(names) != 1)}"
    return f"""<figure>
<figcaption><b>{text(title.capitalize())}</b></figcaption>
<svg class="map" role="img" viewBox="0 0 {_SIZE} {_SIZE}">
<title>{text(summary)}</title>
<rect class="frame" x=".5" y=".5" width="{_SIZE - 1}" height="{_SIZE - 1}" rx="6"/>
{dots}
</svg>
<div class="tip" role="status" hidden=""></div>
<div class="legend">{keys}</div>
</figure>"""


def _shape(number: int, x: float, y: float) -> str:
    shape = _SHAPES[number // GROUP_COLOURS % len(_SHAPES)]
    return shape.format(x=round(x, 1), y=round(y, 1))


def _dot(row: int, point: Point, number: int) -> str:
    span = _SIZE - 2 * _EDGE
    path = _shape(number, _EDGE + span * point.x, _EDGE + span * (1 - point.y))
    missed = " missed" if point.missed else ""
    return (
        f'<path class="dot c{number % GROUP_COLOURS}{missed}" d="{path}" data-n="{row}" '
        f'data-g="{number}"><title>{text(point.told)}</title></path>\n'
    )


def _key(name: str, number: int, count: int) -> str:
    return (
        f'<button type="button" data-g="{number}" aria-pressed="false">'
        f'<svg viewBox="0 0 12 12" aria-hidden="true"><path class="c{number % GROUP_COLOURS}" '
        f'd="{_shape(number, 6, 6)}"/></svg><bdi>{text(name)}</bdi> '
        f'<span class="faint">{count}</span></button>'
    )
