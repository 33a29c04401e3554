# SPDX-License-Identifier: Apache-2.0
"""Tables of a report: confusion matrix, recall by class, confident mistakes, settings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxadapt.recipes.reporting.figures import share_bar
from voxadapt.recipes.reporting.page import NARROW_SPACE, percent, text

_DENSE_CLASSES = 10  # more classes than this get small cells, and a matrix that scrolls in its box
_LEVEL_CLASSES, _LEVEL_LENGTH = 6, 12  # column heads stay level while either is kept
_FULL_STRENGTH = 0.7  # of a cell's colour: the page's ink stays readable on it


def confusion_table(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """Set counts and row percentages, coloured by the percentage.

    A table instead of a picture: it scrolls under fixed heads, can be copied, and can be read
    aloud.

    Args:
        labels: Names of the C classes.
        confusion: ``C`` rows (true) of ``C`` counts (predicted).
    """
    dense = len(labels) > _DENSE_CLASSES
    upright = len(labels) > _LEVEL_CLASSES and max(map(len, labels)) > _LEVEL_LENGTH
    heads = "".join(_column_head(label, upright or dense) for label in labels)
    rows = "\n".join(
        _matrix_row(label, number, counts, labels)
        for number, (label, counts) in enumerate(zip(labels, confusion, strict=True))
    )
    return f"""<div class="scroll{" tall" if dense else ""}" role="region" tabindex="0"
 aria-label="Confusion matrix">
<table class="matrix{" dense" if dense else ""}">
<thead><tr><th><span class="corner">true \\ predicted</span></th>{heads}
<th class="total" scope="col">clips</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>"""


def _column_head(label: str, upright: bool) -> str:
    name = f'<bdi class="upright">{text(label)}</bdi>' if upright else f"<bdi>{text(label)}</bdi>"
    return f'<th scope="col" title="{text(label)}">{name}</th>'


def _matrix_row(label: str, row: int, counts: Sequence[int], labels: Sequence[str]) -> str:
    total = sum(counts)
    cells = []
    for column, count in enumerate(counts):
        share = count / total if total else 0.0
        kind = "right" if row == column else "wrong"
        kind += "" if count else " zero"
        told = f"{label} predicted as {labels[column]}: {count} of {total}"
        below = f"<small>{100 * share:.0f}{NARROW_SPACE}%</small>" if count else ""
        cells.append(
            f'<td class="{kind}" style="--strength:{_FULL_STRENGTH * share**0.65:.2f}" '
            f'title="{text(told)}">{count}{below}</td>'
        )
    head = f'<th scope="row" title="{text(label)}"><bdi>{text(label)}</bdi></th>'
    return f'<tr>{head}{"".join(cells)}<td class="total">{total}</td></tr>'


@dataclass(frozen=True)
class Bar:
    """A row of a table of bars.

    Attributes:
        name: What is scored.
        share: Its score, 0 to 1; None draws no bar.
        told: What stands at the end of the row, such as ``12 of 15``; None leaves that column out.
        further: Cells between the score and that.
        score: What stands for the score in place of the share.
    """

    name: str
    share: float | None
    told: str | None = None
    further: Sequence[str] = ()
    score: str = ""


def bars_table(
    heads: Sequence[str], bars: Sequence[Bar], mean: float | None, *, kind: str = "", none: str = ""
) -> str:
    """Set one bar a row.

    Args:
        heads: Names of the columns: what is scored, the score, any further ones, and the last.
        bars: The rows.
        mean: Marked on each bar; None marks nothing.
        kind: Class of the table.
        none: What stands in place of a bar where there is no score.
    """
    rows = "".join(_bar_row(bar, mean, none) for bar in bars)
    dense = " dense" if len(bars) > _DENSE_CLASSES else ""
    first, *others = (text(head) for head in heads)
    kinds = ["number", *["number further"] * (len(others) - 2), "number"][: len(others)]
    columns = "".join(
        f'<th class="{told}" scope="col">{head}</th>'
        for told, head in zip(kinds, others, strict=True)
    )
    return f"""<table class="list bars{dense} {kind}">
<thead><tr><th class="name" scope="col">{first}</th><th class="bar" scope="col"></th>{columns}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>"""


def _bar_row(bar: Bar, mean: float | None, none: str) -> str:
    drawn = f'<span class="faint">{text(none)}</span>'
    score = "–"
    if bar.share is not None:
        drawn, score = share_bar(bar.share, mean), bar.score or percent(bar.share)
    last = "" if bar.told is None else f'<td class="number faint">{text(bar.told)}</td>'
    further = "".join(f'<td class="number further">{text(cell)}</td>' for cell in bar.further)
    return (
        f'<tr><th class="name" scope="row"><bdi>{text(bar.name)}</bdi></th>'
        f'<td class="bar">{drawn}</td><td class="number">{score}</td>{further}{last}</tr>'
    )


def recall_table(
    labels: Sequence[str],
    confusion: Sequence[Sequence[int]],
    recall: Mapping[str, float | None],
    mean: float,
) -> str:
    """Set one bar a class, best first; classes without a clip come last and get none.

    Args:
        labels: Names of the C classes.
        confusion: ``C`` rows (true) of ``C`` counts (predicted).
        recall: By label; None where the class has no clip.
        mean: Mean recall, the unweighted accuracy, marked on each bar.
    """
    order = sorted(range(len(labels)), key=lambda row: -_known(recall.get(labels[row])))
    bars = []
    for row in order:
        predicted = sum(counts[row] for counts in confusion)
        bars.append(
            Bar(
                labels[row],
                recall.get(labels[row]),
                f"{confusion[row][row]} of {sum(confusion[row])}",
                [percent(confusion[row][row] / predicted) if predicted else "–"],
            )
        )
    heads = ["class", "recall", "precision", "right"]
    return bars_table(heads, bars, mean, kind="recall", none="no clip")


def _known(share: float | None) -> float:
    return -1.0 if share is None else share


def mistakes_table(mistakes: Sequence[Mapping[str, Any]]) -> str:
    """Set predictions that are wrong, in the order given.

    Args:
        mistakes: Records of ``predictions.jsonl``.
    """
    rows = "\n".join(
        f'<tr><td class="clip mono"><bdi>{text(record["id"])}</bdi></td>'
        f"<td><bdi>{text(record['label'])}</bdi></td>"
        f"<td><bdi>{text(record['predicted'])}</bdi></td>"
        f'<td class="number">{percent(record["probabilities"][record["predicted"]])}</td>'
        f'<td class="number faint">{percent(record["probabilities"][record["label"]])}</td></tr>'
        for record in mistakes
    )
    return f"""<table class="list mistakes">
<thead><tr><th class="clip" scope="col">clip</th><th scope="col">label</th>
<th scope="col">predicted</th><th class="number" scope="col">probability</th>
<th class="number" scope="col">of the label</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def settings_list(settings: Mapping[str, Any]) -> str:
    """Set names and values, each value as JSON writes it, text without its quotes."""
    rows = "\n".join(
        f'<div><dt class="mono">{text(name)}</dt>'
        f'<dd class="mono"><bdi>{text(_plain(value))}</bdi></dd></div>'
        for name, value in settings.items()
    )
    return f'<dl class="settings">\n{rows}\n</dl>'


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
