# SPDX-License-Identifier: Apache-2.0
"""The top of a report: the result, how it was measured, and of what."""

from collections.abc import Mapping
from typing import Any

from voxadapt.recipes.reporting.figures import score_strip
from voxadapt.recipes.reporting.page import NARROW_SPACE, percent, text

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
_FEW_CLIPS = 10  # of a class
_PROTOCOLS = {
    "split-column": "The test clips are those of the corpus’s own split.",
    "fold-column": "Tested on fold {fold} of the corpus’s own folds, trained on the others.",
    "fold-column:all": "Each fold of the corpus was tested once, by a model trained on the others.",
    "session": "Tested on session {fold}, trained on the others.",
    "session:all": "Each session was tested once, by a model trained on the others.",
    "speaker": "Tested on speaker {fold}, whom the model has not heard before.",
    "speaker:all": "Each speaker was tested once, by a model that has not heard them before.",
    "speaker-disjoint-fold": (
        "Speakers were drawn into folds; tested on fold {fold}: no speaker of the test clips was "
        "heard in training."
    ),
    "speaker-disjoint-fold:all": (
        "Speakers were drawn into folds, and each fold was tested once, by a model that has not "
        "heard its speakers before."
    ),
    "speaker-disjoint-random": (
        "Parts drawn at random by speaker: no speaker of the test clips was heard in training."
    ),
    "stratified-random": (
        "Parts drawn at random, clip by clip, each with about the same share of every label."
    ),
}


def head_section(name: str, metrics: dict[str, Any], epochs: int | None) -> str:
    """Set what to beware of, the scores, how they were measured, and what was run.

    Args:
        name: The run's name.
        metrics: Its ``metrics.json``, of one run or of several folds and seeds.
        epochs: Epochs that it trained; None of several runs.
    """
    scores = "\n".join(_score(metrics, *score) for score in _SCORES)
    runs = metrics.get("runs", [])
    kind = "Fine-tuning run" if not runs else f"{describe_plan(metrics)} of"
    return f"""<header>
<p class="kind">{text(kind)} <bdi>{text(name)}</bdi></p>
<h1>{text(count_clips(metrics))} in {len(metrics["labels"])} classes</h1>
{_notice(metrics)}
<div class="scores">
{scores}
</div>
<p class="protocol">{text(describe_protocol(metrics["protocol"]))}</p>
<p class="lead">{_interval_note(metrics)}</p>
{_facts(metrics, epochs)}
</header>"""


def count_clips(metrics: Mapping[str, Any]) -> str:
    """How many test clips, or predictions of them, a page is about."""
    seeds = len({run["seed"] for run in metrics.get("runs", [])})
    clips = "test clip" if metrics["n"] == 1 else "test clips"
    # Of several seeds, most clips have several predictions, and random parts need not be the same.
    return f"{metrics['n']:,} {'predictions of ' if seeds > 1 else ''}{clips}"


def describe_plan(metrics: dict[str, Any]) -> str:
    """``5 folds × 3 seeds`` of several runs."""
    parts = []
    for key, one in (("fold", "fold"), ("seed", "seed")):
        count = len({run[key] for run in metrics["runs"]})
        if count > 1:
            parts.append(f"{count} {one}s")
    return " × ".join(parts) or f"{len(metrics['runs'])} runs"


def _score(metrics: dict[str, Any], name: str, title: str, meaning: str) -> str:
    interval = metrics["ci95"][name]
    chance = 1 / len(metrics["labels"]) if name == "ua" else None
    by_chance = "" if chance is None else f"<span>chance {percent(chance)}</span>"
    low, high = (f"{100 * end:.1f}" for end in interval)
    spread = ""
    if "std" in metrics:
        spread = f" <small>± {100 * metrics['std'][name]:.1f}</small>"
    return f"""<div class="score">
<h2>{text(title)}</h2>
<div class="value" data-score="{name}">{percent(metrics[name])}{spread}</div>
{score_strip(metrics[name], interval, chance)}
<p class="range"><b>{low} to {high}</b>{by_chance}</p>
<p>{text(meaning)}</p>
</div>"""


def _interval_note(metrics: dict[str, Any]) -> str:
    unit = text(metrics["ci95"]["unit"])
    told = f"The ranges are 95{NARROW_SPACE}% intervals, found by resampling the test {unit}s"
    if unit == "clip":
        told += "; clips of one speaker are alike, so for new speakers they are too narrow"
    if "std" not in metrics:
        return (
            f"{told}. They are for this trained model; another seed or training set would widen "
            "them."
        )
    over_seeds = metrics.get("std_over_seeds")
    seeds = ""
    if over_seeds:
        seeds = f" Over seeds alone, UA varies by ± {100 * over_seeds['ua']:.1f}."
    return (
        "Scores are means over the runs, and ± is the standard deviation from run to run: with few "
        f"runs it is itself uncertain, and smaller differences mean nothing.{seeds} {told}, of all "
        "runs’ predictions together."
    )


def describe_protocol(protocol: str) -> str:
    """Say in words how the parts were made; a protocol that is not known stays as it is."""
    base = protocol.removesuffix("+speaker-overlap")  # which the notice tells
    kind, _, fold = base.partition(":")
    told = _PROTOCOLS.get(base) or _PROTOCOLS.get(kind, f"Parts made by {base}.")
    return told.replace("{fold}", fold)


def warnings_of(metrics: dict[str, Any]) -> list[str]:
    """What a reader should know before believing the scores, one sentence each."""
    told = []
    chance, low = 1 / len(metrics["labels"]), metrics["ci95"]["ua"][0]
    if low <= chance:
        told.append(
            f"UA’s interval begins at {percent(low)}, and guessing gives {percent(chance)}: these "
            "clips do not show that the model has learnt anything."
        )
    counts = {
        label: sum(row) for label, row in zip(metrics["labels"], metrics["confusion"], strict=True)
    }
    few = {label: count for label, count in counts.items() if 0 < count < _FEW_CLIPS}
    none = [label for label, count in counts.items() if not count]
    if few:
        listed = ", ".join(f"{label} ({count})" for label, count in list(few.items())[:5])
        told.append(f"Few test clips: {listed}. One clip more or less moves UA noticeably.")
    if none:
        told.append(f"No test clip, so no part in UA: {', '.join(none[:5])}.")
    if metrics.get("left_out"):
        told.append(f"{metrics['left_out']:,} clips were left out because of their audio.")
    return told


def _notice(metrics: dict[str, Any]) -> str:
    told, notes = warnings_of(metrics), list(metrics["notes"])
    if not (metrics["speaker_overlap"] or told or notes):
        return ""
    items = "".join(f"<li>{text(note)}</li>" for note in [*told, *notes])
    listed = f"<ul>{items}</ul>" if items else ""
    if metrics["speaker_overlap"]:
        return (
            '<div class="notice warning" role="note"><strong>Parts share speakers.</strong> These '
            f"scores say little about speakers that the model has never heard.{listed}"
            "</div>"
        )
    if told:
        return (
            '<div class="notice warning" role="note"><strong>Read these scores with care</strong>'
            f"{listed}</div>"
        )
    return f'<div class="notice" role="note"><strong>About the split</strong>{listed}</div>'


def _facts(metrics: dict[str, Any], epochs: int | None) -> str:
    config, runs = metrics["config"], metrics.get("runs", [])
    facts = {
        **_sizes(metrics),
        **describe_model(metrics),
        "Parameters trained": f"{metrics['parameters_trained']:,}",
    }
    if epochs is not None:
        facts["Epoch chosen on validation"] = f"{metrics['best_epoch']} of {epochs}"
    if metrics.get("ece") is not None:
        facts["Expected calibration error"] = percent(metrics["ece"])
    seeds = sorted({run["seed"] for run in runs}) or [metrics["seed"]]
    facts["Seed" if len(seeds) == 1 else "Seeds"] = ", ".join(map(str, seeds))
    facts["Time"] = describe_seconds(metrics["seconds"])
    if config.get("label", "label") != "label":
        facts["Label"] = str(config["label"])
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{text(told)}</dd></div>" for name, told in facts.items()
    )
    return f'<dl class="facts">{rows}</dl>'


def _sizes(metrics: dict[str, Any]) -> dict[str, str]:
    facts, parts = {}, ("train", "valid", "test")
    if metrics.get("protocol_name"):
        facts["Protocol"] = metrics["protocol_name"]
    for title, key in (("Clips", "split_sizes"), ("Speakers", "speaker_counts")):
        counts = metrics.get(key)
        if counts and any(counts.values()):
            told = " / ".join(f"{counts[part]:,}" for part in parts)
            facts[f"{title} to train, validate, test"] = told
    return facts


def describe_model(metrics: dict[str, Any]) -> dict[str, str]:
    """Backbone, adapter and pooling of a run in words."""
    config = metrics["config"]
    layer = "" if config["backbone"] == "fbank" else f", layer {config['layer']}"
    adapter = {"random": "random, not pretrained", "none": "none"}.get(
        metrics["adapter"], f"pretrained, {metrics['adapter']}"
    )
    tuned = ""
    if config.get("lora"):
        tuned = f", with LoRA {config['lora']}"
    elif config.get("unfreeze_top"):
        tuned = f", its top {config['unfreeze_top']} layers trained"
    return {
        "Backbone" if tuned else "Backbone, frozen": f"{config['backbone']}{layer}{tuned}",
        "Adapter": adapter,
        "Pooling": _POOLERS.get(config["pool"], config["pool"]),
    }


def describe_seconds(seconds: float) -> str:
    """``83.4`` to ``1 min 23 s``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
