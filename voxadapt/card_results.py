# SPDX-License-Identifier: Apache-2.0
"""What a model scored, as its folder keeps it and as its model card tells it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What is kept of a run's metrics.json. Nothing that differs between two runs of the same: no times.
_KEPT = (
    "task",
    "n",
    "ci95",
    "protocol",
    "protocol_name",
    "speaker_overlap",
    "fold",
    "seed",
    "seeds",
    "std",
    "split_sizes",
    "left_out",
)
# Name, metric of the hub, whether it is a share that is told in percent.
_SCORES = {
    "ua": ("Unweighted accuracy (UA, macro recall)", "recall", True),
    "wa": ("Weighted accuracy (WA, accuracy)", "accuracy", True),
    "macro_f1": ("Macro F1", "f1", True),
    "ccc": ("Concordance correlation (CCC)", "ccc", False),
    "pearson": ("Pearson correlation", "pearsonr", False),
    "mae": ("Mean absolute error", "mae", False),
}


def results_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what a model's folder keeps of a run's ``metrics.json``.

    Args:
        metrics: What stands in it.

    Returns:
        ``scores`` by name, and under their own names what says how they were got.
    """
    scores = {name: metrics[name] for name in _SCORES if metrics.get(name) is not None}
    kept = {name: metrics[name] for name in _KEPT if metrics.get(name) is not None}
    data = (metrics.get("config") or {}).get("data") or []
    # Of files their names only: folders of one machine say nothing on another.
    names = [name if name.startswith("hf:") else Path(name).name for name in data]
    return {"scores": scores, **kept, "data": names, "versions": metrics.get("versions", {})}


def model_index(results: Mapping[str, Any], title: str) -> dict[str, Any]:
    """The scores as the hub reads them, for `huggingface_hub.ModelCardData`.

    Args:
        results: What `results_of` gave.
        title: What the model is called.
    """
    from huggingface_hub import EvalResult

    data = ", ".join(results.get("data") or []) or "demo corpus"
    found = [
        EvalResult(
            task_type="audio-classification",
            dataset_type=data,
            dataset_name=data,
            dataset_split="test",
            metric_type=_SCORES[name][1],
            metric_name=_SCORES[name][0],
            metric_value=round(float(value), 4),
        )
        for name, value in results["scores"].items()
    ]
    return {"eval_results": found, "model_name": title} if found else {}


def results_section(results: Mapping[str, Any], heading: str = "Results") -> str:
    """The scores, with what they were scored on and how, as Markdown."""
    rows = [
        f"| {_SCORES[name][0]} | {_number(name, value)} | {_interval(name, results)} |"
        for name, value in results["scores"].items()
    ]
    table = "\n".join(["| score | value | 95 % interval |", "| --- | --- | --- |", *rows])
    return f"## {heading}\n\n{table}\n\n" + "\n".join(f"- {line}" for line in _protocol(results))


def _protocol(results: Mapping[str, Any]) -> list[str]:
    lines = [f"scored on {results.get('n', 'an unknown number of')} test clips of {_data(results)}"]
    name = results.get("protocol_name") or results.get("protocol")
    if name:
        lines.append(f"protocol: {name}")
    if results.get("speaker_overlap"):
        lines.append(
            "**speakers of the test part are in the training part too**, so a score on new "
            "speakers will be lower"
        )
    sizes: Mapping[str, Any] = results.get("split_sizes") or {}
    if sizes:
        lines.append("clips: " + ", ".join(f"{count} {part}" for part, count in sizes.items()))
    unit = (results.get("ci95") or {}).get("unit")
    if unit:
        lines.append(f"intervals: bootstrap over test {unit}s")
    # Of a run with several seeds, `seed` is the first of them.
    for name in ("fold", "seeds" if "seeds" in results else "seed"):
        if results.get(name) is not None:
            lines.append(f"{name}: {results[name]}")
    if results.get("left_out"):
        lines.append(f"clips left out because they could not be used: {results['left_out']}")
    versions = results.get("versions") or {}
    if versions:
        lines.append(", ".join(f"{package} {version}" for package, version in versions.items()))
    return lines


def _data(results: Mapping[str, Any]) -> str:
    names: Sequence[str] = results.get("data") or []
    return ", ".join(f"`{name}`" for name in names) or "the demo corpus"


def _number(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if _SCORES[name][2] else f"{value:.3f}"


def _interval(name: str, results: Mapping[str, Any]) -> str:
    bounds = (results.get("ci95") or {}).get(name)
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        return "–"
    return " to ".join(_number(name, bound) for bound in bounds)
