# SPDX-License-Identifier: Apache-2.0
"""Scores beyond the first label on the own corpus: other corpora, and further label columns."""

from collections.abc import Mapping
from typing import Any

from voxadapt.recipes.reporting.page import percent_or_dash, text
from voxadapt.recipes.reporting.tables import Bar, bars_table, confusion_table

Metrics = Mapping[str, Any]


def corpora_section(metrics: Metrics) -> str:
    """Scores on other corpora, and on further label columns; nothing without any."""
    parts = []
    others = metrics.get("cross_corpus") or []
    if others:
        bars = [_score_bar(other["name"], other) for other in others]
        heads = ["corpus", "UA", "WA", "macro F1", "clips"]
        details = "".join(_folded_matrix(other["name"], other) for other in others)
        parts.append(f"""<section id="corpora">
<h2>Other corpora</h2>
<p class="lead">The same model on corpora that it was not trained on; the upright mark is the UA on
its own test part.</p>
{bars_table(heads, bars, metrics["ua"], kind="corpora")}
{details}
</section>""")
    columns = metrics.get("by_column") or {}
    if len(columns) > 1:
        bars = [_score_bar(name, found) for name, found in columns.items()]
        heads = ["column", "UA", "WA", "macro F1", "clips"]
        details = "".join(_folded_matrix(name, found) for name, found in list(columns.items())[1:])
        first = next(iter(columns))
        parts.append(f"""<section id="columns">
<h2>Label columns</h2>
<p class="lead">One model learnt all of these; the rest of this page is about
<bdi>{text(first)}</bdi>.</p>
{bars_table(heads, bars, None, kind="columns", none="not scored")}
{details}
</section>""")
    return "\n".join(parts)


def _score_bar(name: str, found: Metrics | None) -> Bar:
    if found is None:
        return Bar(name, None, "0", ["–", "–"])
    further = [percent_or_dash(found["wa"]), percent_or_dash(found["macro_f1"])]
    return Bar(name, found["ua"], f"{found['n']:,}", further)


def _folded_matrix(name: str, found: Metrics | None) -> str:
    if not found or not found.get("confusion"):
        return ""
    return (
        f'<details class="more"><summary>Confusion matrix of <bdi>{text(name)}</bdi></summary>'
        f"<div>{confusion_table(found['labels'], found['confusion'])}</div></details>"
    )
