# SPDX-License-Identifier: Apache-2.0
"""Tables for a terminal: what a manifest holds, by split and fold."""

from collections import Counter
from collections.abc import Sequence

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.intake.found import LeftOut
from voxadapt.recipes.corpora.manifest_columns import SPLITS
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.corpora.natural_order import natural_key

_MOST_CLASSES = 12


def draw_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Align columns, the first `left` of them to the left; a line goes under the header.

    Args:
        rows: The header, and the rows; all of one length.
        left: How many columns are text.
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def summarise(clips: Sequence[Clip], seconds: Sequence[float]) -> str:
    """Clips, hours, speakers and classes, in all and by split and fold.

    Args:
        clips: The clips.
        seconds: Their lengths (seconds), aligned.
    """
    labels = sorted({clip.label for clip in clips if clip.label}, key=natural_key)
    shown = labels if len(labels) <= _MOST_CLASSES else []
    rows = [["", "clips", "hours", "speakers", "classes", *shown]]
    splits = [split for split in SPLITS if any(clip.split == split for clip in clips)]
    folds = sorted({clip.fold for clip in clips if clip.fold}, key=natural_key)
    for title, wanted in (
        *((split, ("split", split)) for split in splits),
        *((f"fold {fold}", ("fold", fold)) for fold in folds),
        ("all", None),
    ):
        chosen = [
            place
            for place, clip in enumerate(clips)
            if wanted is None or getattr(clip, wanted[0]) == wanted[1]
        ]
        counts = Counter(clips[place].label for place in chosen)
        speakers = {clips[place].speaker for place in chosen} - {None}
        rows.append(
            [
                title,
                f"{len(chosen):,}",
                f"{sum(seconds[place] for place in chosen) / 3600:.2f}",
                f"{len(speakers):,}" if speakers else "?",
                str(sum(1 for label in counts if label)),
                *(f"{counts[label]:,}" for label in shown),
            ]
        )
    return draw_table(rows)


def summarise_left_out(left_out: Sequence[LeftOut], most: int = 8) -> str:
    """How many were left out for which reason, with an example of each."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one.what)
    ranked = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    lines = [
        f"  {len(found):>7,}  {reason}, such as {printable(found[0])}"
        for reason, found in ranked[:most]
    ]
    if len(ranked) > most:
        rest = sum(len(found) for _, found in ranked[most:])
        lines.append(f"  {rest:>7,}  for {len(ranked) - most:,} other reasons")
    return "\n".join(lines)
