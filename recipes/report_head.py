# SPDX-License-Identifier: Apache-2.0
"""The top of a report: the result, how it was measured, and of what."""

from typing import Any

from voxadapt.recipes.report_figures import score_strip
from voxadapt.recipes.report_page import NARROW_SPACE, percent, text

_SCORES = (
    ("ua", "UA", "unweighted accuracy: the mean of the classes’ recall"),
    ("wa", "WA", "weighted accuracy: the share of clips that are right"),
    ("macro_f1", "Macro F1", "the mean of the classes’ F1 scores"),
)
_POOLERS = {
    "sap": "statistical attentive (sap)",
    "attentive": "multi-head attentive average (attentive)",
    "qkv": "multi-head query-key-value (qkv)",
}
_PROTOCOLS = {
    "split-column": "The test clips are those of the corpus’s own split.",
    "fold-column": "Tested on fold {fold} of the corpus’s own folds, trained on the others.",
    "speaker-disjoint-random": (
        "Parts drawn at random by speaker: no speaker of the test clips was heard in training."
    ),
    "stratified-random": (
        "Parts drawn at random, clip by clip, each with about the same share of every label."
    ),
}


def head_section(name: str, metrics: dict[str, Any], epochs: int) -> str:
    """Set the scores, how they were measured, and what was run.

    Args:
        name: The run's name.
        metrics: Its ``metrics.json``.
        epochs: Epochs that it trained.
    """
    scores = "\n".join(_score(metrics, *score) for score in _SCORES)
    return f"""<header>
<p class="kind">Fine-tuning run <bdi>{text(name)}</bdi></p>
<h1>{metrics["n"]:,} test clips in {len(metrics["labels"])} classes</h1>
<div class="scores">
{scores}
</div>
<p class="protocol">{text(describe_protocol(metrics["protocol"]))}</p>
<p class="lead">{_interval_note(metrics["ci95"])}</p>
{_notice(metrics)}
{_facts(metrics, epochs)}
</header>"""


def _score(metrics: dict[str, Any], name: str, title: str, meaning: str) -> str:
    interval = metrics["ci95"][name]
    chance = 1 / len(metrics["labels"]) if name == "ua" else None
    by_chance = "" if chance is None else f"<span>chance {percent(chance)}</span>"
    low, high = (f"{100 * end:.1f}" for end in interval)
    return f"""<div class="score">
<h2>{text(title)}</h2>
<div class="value" data-score="{name}">{percent(metrics[name])}</div>
{score_strip(metrics[name], interval, chance)}
<p class="range"><b>{low} to {high}</b>{by_chance}</p>
<p>{text(meaning)}</p>
</div>"""


def _interval_note(interval: dict[str, Any]) -> str:
    unit = text(interval["unit"])
    told = f"The ranges are 95{NARROW_SPACE}% intervals, found by resampling the test {unit}s"
    if interval["unit"] == "clip":
        told += "; clips of one speaker are alike, so for new speakers they are too narrow"
    return (
        f"{told}. They are for this trained model; another seed or training set would widen them."
    )


def describe_protocol(protocol: str) -> str:
    """Say in words how the parts were made; a protocol that is not known stays as it is."""
    base = protocol.removesuffix("+speaker-overlap")  # which the notice tells
    kind, _, fold = base.partition(":")
    return _PROTOCOLS.get(kind, f"Parts made by {base}.").replace("{fold}", fold)


def _notice(metrics: dict[str, Any]) -> str:
    if not metrics["speaker_overlap"] and not metrics["notes"]:
        return ""
    notes = "".join(f"<li>{text(note)}</li>" for note in metrics["notes"])
    listed = f"<ul>{notes}</ul>" if notes else ""
    if metrics["speaker_overlap"]:
        return (
            '<div class="notice warning" role="note"><strong>Parts share speakers.</strong> These '
            f"scores say little about speakers that the model has never heard.{listed}"
            "</div>"
        )
    return f'<div class="notice" role="note"><strong>About the split</strong>{listed}</div>'


def _facts(metrics: dict[str, Any], epochs: int) -> str:
    config, sizes = metrics["config"], metrics["split_sizes"]
    layer = "" if config["backbone"] == "fbank" else f", layer {config['layer']}"
    adapter = {"random": "random, not pretrained", "none": "none"}.get(
        metrics["adapter"], f"pretrained, {metrics['adapter']}"
    )
    facts = {
        "Clips to train, validate, test": " / ".join(
            f"{sizes[part]:,}" for part in ("train", "valid", "test")
        ),
        "Backbone, frozen": f"{config['backbone']}{layer}",
        "Adapter": adapter,
        "Pooling": _POOLERS.get(config["pool"], config["pool"]),
        "Parameters trained": f"{metrics['parameters_trained']:,}",
        "Epoch chosen on validation": f"{metrics['best_epoch']} of {epochs}",
        "Expected calibration error": percent(metrics["ece"]),
        "Seed": str(metrics["seed"]),
        "Time": describe_seconds(metrics["seconds"]),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{text(told)}</dd></div>" for name, told in facts.items()
    )
    return f'<dl class="facts">{rows}</dl>'


def describe_seconds(seconds: float) -> str:
    """``83.4`` to ``1 min 23 s``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
