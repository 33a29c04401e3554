# SPDX-License-Identifier: Apache-2.0
"""Sections of a report on classes: confusion, recall, speakers, durations, training, mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any

from voxadapt.recipes.reporting.commands import reproduction
from voxadapt.recipes.reporting.figures import Series, line_chart
from voxadapt.recipes.reporting.page import percent, percent_or_dash, text
from voxadapt.recipes.reporting.tables import (
    Bar,
    bars_table,
    confusion_table,
    mistakes_table,
    recall_table,
    settings_list,
)
from voxadapt.recipes.running.run_folder import flatten

SHOWN_MISTAKES = 20
SHOWN_SPEAKERS = 20
_FEW_SPEAKERS = 8  # with which the next section fits beneath them

Metrics = Mapping[str, Any]
History = Sequence[Mapping[str, float]]


def matrix_section(metrics: Metrics) -> str:
    """The confusion matrix."""
    return f"""<section id="confusion">
<h2>Confusion matrix</h2>
<p class="lead">Clips, and the share of their row: clips of one true class by the class predicted.
Blue is right, orange is wrong.</p>
{confusion_table(metrics["labels"], metrics["confusion"])}
</section>"""


def recall_section(metrics: Metrics) -> str:
    """One bar a class."""
    table = recall_table(
        metrics["labels"], metrics["confusion"], metrics["per_class_recall"], metrics["ua"]
    )
    return f"""<section id="recall">
<h2>Recall by class</h2>
<p class="lead">Recall is the share of a class’s clips that were found, precision the share of its
predictions that were right. The upright mark is the mean recall, the unweighted accuracy.</p>
{table}
</section>"""


def speakers_section(metrics: Metrics) -> str:
    """One bar a speaker, worst first; nothing where speakers are unknown."""
    speakers = metrics.get("by_speaker") or {}
    if not speakers:
        return ""
    order = sorted(speakers, key=lambda name: (speakers[name]["wa"], -speakers[name]["n"]))
    bars = [
        Bar(
            name,
            speakers[name]["wa"],
            f"{speakers[name]['n']:,}",
            [percent_or_dash(speakers[name]["ua"])],
        )
        for name in order
    ]
    heads = ["speaker", "WA", "UA", "clips"]
    shown = bars_table(heads, bars[:SHOWN_SPEAKERS], metrics["wa"], kind="speakers")
    rest = ""
    if len(bars) > SHOWN_SPEAKERS:
        table = bars_table(heads, bars[SHOWN_SPEAKERS:], metrics["wa"], kind="speakers")
        rest = (
            f'<details class="more"><summary>{len(bars) - SHOWN_SPEAKERS} further speakers'
            f"</summary><div>{table}</div></details>"
        )
    return f"""<section id="speakers">
<h2>By speaker</h2>
<p class="lead">The share of each speaker’s test clips that is right, worst first. Where
they differ, the mean says little about the next speaker.</p>
{shown}
{rest}
</section>"""


def durations_section(metrics: Metrics) -> str:
    """One bar for each bucket of clip lengths; nothing where lengths are unknown."""
    buckets = metrics.get("by_duration") or []
    if not buckets:
        return ""
    bars = [
        Bar(_lengths(bucket), bucket["ua"], f"{bucket['n']:,}", [percent_or_dash(bucket["wa"])])
        for bucket in buckets
    ]
    return f"""<section id="durations">
<h2>By length</h2>
<p class="lead">Unweighted accuracy of clips by their length; of classes that have such clips.</p>
{bars_table(["length", "UA", "WA", "clips"], bars, metrics["ua"], kind="durations")}
</section>"""


def two_columns(metrics: Metrics, calibration: str) -> str:
    """Speakers, lengths and calibration in two columns of about the same height.

    Args:
        metrics: ``metrics.json``.
        calibration: The section on calibration.
    """
    speakers, lengths = speakers_section(metrics), durations_section(metrics)
    if len(metrics.get("by_speaker") or {}) > _FEW_SPEAKERS:
        left, right = speakers, calibration + lengths
    else:
        left, right = speakers + lengths, calibration
    columns = "".join(f"<div>{column}</div>" for column in (left, right) if column)
    return f'<div class="halves">{columns}</div>'


def _lengths(bucket: Mapping[str, Any]) -> str:
    if bucket["to"] is None:
        return f"from {bucket['from']:g} s"
    return f"{bucket['from']:g} to {bucket['to']:g} s"


def curves_section(metrics: Metrics, history: History) -> str:
    """Losses and validation score by epoch."""
    chosen = metrics["best_epoch"]
    epochs = [round(entry["epoch"]) + 1 for entry in history]
    losses = [
        Series("training", "blue", [entry["train_loss"] for entry in history]),
        Series("validation", "orange", [entry["valid_loss"] for entry in history]),
    ]
    accuracy = [Series("validation", "orange", [entry["valid_ua"] for entry in history])]
    chance = 1 / len(metrics["labels"])
    loss = line_chart("Loss", epochs, losses, chosen=chosen)
    score = line_chart(
        "Unweighted accuracy, %",
        epochs,
        accuracy,
        chosen=chosen,
        shares=True,
        level=("chance", chance),
    )
    return f"""<section id="training">
<h2>Training</h2>
<p class="lead">The kept epoch is the latest whose unweighted accuracy on validation is within one
standard error of the best. Training loss is measured with dropout, hidden features and smoothed
labels, so it can stand above validation’s.</p>
<div class="charts">
{loss}
{score}
</div>
</section>"""


def layers_section(metrics: Metrics) -> str:
    """The weights of a learnt sum over the encoder's layers; nothing without one."""
    weights = metrics.get("layer_weights")
    if not weights:
        return ""
    return f"""<section id="layers">
<h2>Weights of the layers</h2>
<p class="lead">How much each of the encoder’s layers has in the sum that was learnt, each layer
standardised first; they began at {percent(1 / len(weights))} each, marked. Layer 0 is the input of
the first. Weights that hardly moved say little about which layer is best: see
<code>voxadapt sweep_layers</code>.</p>
{weights_table(weights)}
</section>"""


def weights_table(weights: Sequence[float]) -> str:
    """A bar for each layer's weight, and a mark where all would be equal."""
    highest = max(weights)
    bars = [
        Bar(f"layer {layer}", weight / highest, score=percent(weight))
        for layer, weight in enumerate(weights)
    ]
    return bars_table(["layer", "weight"], bars, 1 / len(weights) / highest, kind="layers")


def mistakes_section(predictions: Sequence[Mapping[str, Any]]) -> str:
    """The wrong predictions that the model was surest of."""
    wrong = [record for record in predictions if record["predicted"] != record["label"]]
    wrong.sort(key=lambda record: -record["probabilities"][record["predicted"]])
    shown = wrong[:SHOWN_MISTAKES]
    if wrong:
        told = f"{len(shown)} of {len(wrong):,} wrong predictions, the surest first."
    else:
        told = "No test clip was predicted wrongly."
    return f"""<section id="mistakes">
<h2>Most confident mistakes</h2>
<p class="lead">{told}</p>
{mistakes_table(shown) if shown else ""}
</section>"""


def settings_section(name: str, metrics: Metrics) -> str:
    """What it takes to run this again, folded away."""
    fingerprints = [
        f"{title} <code>{text(metrics[key])}</code>."
        for title, key in (("Split", "split_fingerprint"), ("Test part", "test_fingerprint"))
        if metrics.get(key)
    ]
    return f"""<section id="settings">
<details>
<summary>Commands, configuration, versions, split fingerprint</summary>
<div>
<h3>Commands</h3>
{reproduction(name, metrics)}
<h3>Configuration</h3>
{settings_list(flatten(metrics["config"]))}
<h3>Versions</h3>
{settings_list(metrics["versions"])}
<h3>Split</h3>
<p>Protocol <code>{text(metrics.get("protocol_name") or metrics["protocol"])}</code>
({text(metrics["protocol"])}). Fingerprints: {" ".join(fingerprints)} Scores on splits with
different fingerprints cannot be compared.</p>
</div>
</details>
</section>"""
