# SPDX-License-Identifier: Apache-2.0
"""Paired differences between the rows of `adapter_gain.py`, and its tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from adapter_gain_cells import FULL, PROTOCOLS, VARIANTS, Cell, baseline_of
from measured import table_head, table_line

SAMPLES = 10_000
Results = Mapping[Cell, Mapping[str, Any]]


def paired_difference(differences: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Mean of paired differences, and how sure it is.

    Args:
        differences: One a pair; at least one.
        seed: Of the bootstrap.

    Returns:
        `pairs`, `mean`, `standard_error` (sample standard deviation over the root of the number of
        pairs), `ci95` (percentiles of the mean over resampled pairs) and `better` (pairs above 0);
        with a single pair there is no standard error and no interval.
    """
    values = np.asarray(differences, dtype=float)
    count = len(values)
    result = {
        "pairs": count,
        "mean": float(values.mean()),
        "standard_error": None,
        "ci95": None,
        "better": int((values > 0).sum()),
    }
    if count > 1:
        draws = np.random.default_rng(seed).integers(0, count, (SAMPLES, count))
        means = values[draws].mean(axis=1)
        result["standard_error"] = float(values.std(ddof=1) / np.sqrt(count))
        result["ci95"] = np.percentile(means, [2.5, 97.5]).tolist()
    return result


def together(results: Sequence[Mapping[str, Any]]) -> float:
    """UA over the test clips of several runs as if of one: classes weigh the same, not folds.

    A fold in which a class is missing or rare gives a UA of few classes, or of few clips of one.
    """
    labels = sorted({label for result in results for label in result["labels"]})
    right, clips = np.zeros(len(labels)), np.zeros(len(labels))
    for result in results:
        rows = [labels.index(label) for label in result["labels"]]
        confusion = np.array(result["confusion"])
        right[rows] += np.diag(confusion)
        clips[rows] += confusion.sum(axis=1)
    return float(np.mean(right[clips > 0] / clips[clips > 0]))


def make_rows(results: Results, collapsed: Mapping[Cell, str] | None = None) -> list[dict]:
    """One row for each protocol, share and kind of adapter, in the order of the tables.

    Args:
        results: What `finetune` gave for each cell that has finished.
        collapsed: For cells that could not be run because pretraining collapsed, its message.

    Returns:
        Ready for JSON. UA in 0..1; `gain` is over the row's baseline and over pairs that both have;
        None where there are none.
    """
    collapsed = collapsed or {}
    groups: dict[tuple, list[Cell]] = {}
    for cell in [*results, *collapsed]:
        groups.setdefault(cell.group, []).append(cell)
    rows = []
    for group in sorted(groups, key=_place):
        cells = [cell for cell in groups[group] if cell in results]
        protocol, share, adapter, variant = group
        row: dict[str, Any] = {"protocol": protocol, "share": share, "adapter": adapter}
        row |= {"variant": variant, "runs": len(cells)}
        messages = [collapsed[cell] for cell in groups[group] if cell in collapsed]
        row["collapsed"] = messages[0] if messages else None
        if cells:
            tested = [results[cell] for cell in cells]
            row["ua"] = spread([result["ua"] for result in tested])
            row["valid_ua"] = spread([result["valid"]["ua"] for result in tested])
            row["ua_together"] = together(tested)
            row |= gain_over_baseline(cells, results)
        rows.append(row)
    return rows


def gain_over_baseline(cells: Sequence[Cell], results: Results) -> dict[str, Any]:
    """Paired differences between the runs of a row and those of its baseline."""
    pairs = [
        (cell, other)
        for cell in sorted(cells, key=_pair)
        if (other := baseline_of(cell)) is not None and other in results
    ]
    if not pairs:
        return {"over": None, "gain": None}
    first, second = ([results[cell] for cell in side] for side in zip(*pairs, strict=True))
    both = list(zip(first, second, strict=True))
    over = pairs[0][1]
    return {
        "over": over.adapter if over.variant == FULL else over.variant,
        "gain": paired_difference([one["ua"] - other["ua"] for one, other in both]),
        "valid_gain": paired_difference(
            [one["valid"]["ua"] - other["valid"]["ua"] for one, other in both]
        ),
        "gain_together": together(first) - together(second),
        "differences": [
            {"fold": cell.fold, "seed": cell.seed, "ua": one["ua"] - other["ua"]}
            for (cell, _), (one, other) in zip(pairs, both, strict=True)
        ],
    }


def ablation_gains(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each ablation changes, over all protocols at once.

    Args:
        rows: Of `make_rows`.

    Returns:
        For each share and ablation `share`, `variant`, `protocols` (how many), and `gain` and
        `valid_gain`: `mean` of the protocols' mean differences to the full method, which weigh the
        same, its `standard_error` (of independent means; None where one of them has none), `pairs`
        and `better`. Ablations without a result are left out.
    """
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["variant"] != FULL and row["runs"] and row["gain"] is not None:
            groups.setdefault((row["share"], row["variant"]), []).append(row)
    return [
        {
            "share": share,
            "variant": variant,
            "protocols": len(found),
            **{name: _mean_gain([row[name] for row in found]) for name in ("gain", "valid_gain")},
        }
        for (share, variant), found in groups.items()
    ]


def _mean_gain(gains: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    errors = [gain["standard_error"] for gain in gains]
    error = None if None in errors else float(np.sqrt(np.sum(np.square(errors))) / len(errors))
    return {
        "mean": float(np.mean([gain["mean"] for gain in gains])),
        "standard_error": error,
        **{name: sum(gain[name] for gain in gains) for name in ("pairs", "better")},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation; 0 for a single value."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std}


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, a table for each protocol, in percent and points."""
    lines: list[str] = []
    for protocol in PROTOCOLS:
        found = [row for row in rows if row["protocol"] == protocol]
        if not found:
            continue
        header = ["labels", "adapter", "runs", "validation UA", "test UA", "test UA together"]
        header += ["compared with", "validation gain", "test gain", "95 % interval", "better in"]
        header += ["gain together"]
        lines += ["", f"**{protocol}**", "", *table_head(header)]
        lines += [table_line(_cells(row)) for row in found]
    ablations = ablation_gains(rows)
    if ablations:
        header = ["labels", "ablation", "protocols", "validation gain", "test gain", "better in"]
        lines += ["", "**ablations, mean over protocols**", "", *table_head(header)]
        lines += [table_line(_ablation_cells(row)) for row in ablations]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = row["adapter"] if row["variant"] == FULL else f"{row['adapter']}, {row['variant']}"
    cells = [f"{row['share']} %", name, str(row["runs"])]
    if not row["runs"]:
        return [*cells, "pretraining collapsed", *[""] * 8]
    cells += [_spread(row["valid_ua"]), _spread(row["ua"]), f"{100 * row['ua_together']:.1f}"]
    gain = row["gain"]
    if gain is None:
        return [*cells, *[""] * 6]
    over = row["over"] if row["variant"] == FULL else f"{row['over']}, {FULL}"
    interval = gain["ci95"]
    return [
        *cells,
        over,
        _gain(row["valid_gain"]),
        _gain(gain),
        "" if interval is None else " to ".join(f"{100 * edge:+.1f}" for edge in interval),
        f"{gain['better']} of {gain['pairs']}",
        f"{100 * row['gain_together']:+.1f}",
    ]


def _ablation_cells(row: Mapping[str, Any]) -> list[str]:
    gain = row["gain"]
    cells = [f"{row['share']} %", row["variant"], str(row["protocols"])]
    better = f"{gain['better']} of {gain['pairs']}"
    return [*cells, _gain(row["valid_gain"]), _gain(gain), better]


def _spread(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:.1f} ± {100 * value['std']:.1f}"


def _gain(gain: Mapping[str, Any]) -> str:
    error = gain["standard_error"]
    return f"{100 * gain['mean']:+.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _pair(cell: Cell) -> tuple[int, int]:
    return (-1 if cell.fold is None else cell.fold, cell.seed)


def _place(group: tuple[str, int, str, str]) -> tuple[int, int, int, int]:
    protocol, share, adapter, variant = group
    adapters = ["none", "random", "heard", "unheard"]
    return (
        list(PROTOCOLS).index(protocol),
        -share,
        list(VARIANTS).index(variant),
        adapters.index(adapter),
    )
