# SPDX-License-Identifier: Apache-2.0
"""The tables that `extraction.py` prints, in Markdown."""

from typing import Any

from extraction_peers import INSTALL, PEERS
from extraction_rows import PRECISIONS, ROWS
from measured import table_head, table_line


def tables(results: dict[str, Any]) -> str:
    """Write speeds, efficiency and accuracy as Markdown."""
    setup = results["setup"]
    versions = ", ".join(f"{name} {text}" for name, text in setup["versions"].items() if text)
    lines = [
        f"{setup['processor']}, {setup['device']}, {setup['threads']} threads; {versions}; "
        f"medians of {setup['repeats']}; load before: {setup['load_before']:.1f}.",
        "",
        *(_speeds(results["rows"]) if results["rows"] else []),
    ]
    for peer in results["skipped"]:
        lines += ["", f"{peer} was skipped: it is not installed ({INSTALL})."]
    lines += ["", *_efficiency(results["rows"])] if results["rows"] else []
    if results["accuracy"]:
        lines += ["", *_accuracy(results["accuracy"])]
        lines += ["", *_scores(results["scores"])]
    return "\n".join(lines)


def _speeds(rows: list[dict[str, Any]]) -> list[str]:
    peers = [peer for peer in PEERS if any(peer in row["peers"] for row in rows)]
    cast = [peer for peer in PEERS if any(peer in row["peers_autocast"] for row in rows)]
    header = ["audio seconds per second", *(f"ours, {precision}" for precision in PRECISIONS)]
    header += [*peers, *(f"{peer}, autocast" for peer in cast)]
    header += [f"{precision} to the best (target)" for precision in PRECISIONS]
    lines = table_head(header)
    for row in rows:
        cells = [_title(row), *(f"{row[precision]['speed']:.4g}" for precision in PRECISIONS)]
        cells += [_number(row["peers"].get(peer)) for peer in peers]
        cells += [_number(row["peers_autocast"].get(peer)) for peer in cast]
        for precision in PRECISIONS:
            result = row[precision]
            cells.append(_judged(result["ratio"], result["target"], result["met"]))
        lines.append(table_line(cells))
    return lines


def _efficiency(rows: list[dict[str, Any]]) -> list[str]:
    header = ["GFLOP/s", "GFLOP per audio second"]
    for precision in PRECISIONS:
        header += [f"{precision} attained", f"{precision} matrix products"]
        header += [f"{precision} to torch.matmul (target)", f"{precision} to the fastest"]
    lines = table_head(header)
    for row in rows:
        cells = [_title(row), f"{row['flops_per_audio_second'] / 1e9:.3g}"]
        for precision in PRECISIONS:
            result = row[f"{precision}_efficiency"]
            rates = result["matrix_rates"].items()
            cells.append(f"{result['flops_per_second'] / 1e9:.0f}")
            cells.append(", ".join(f"{way} {rate / 1e9:.0f}" for way, rate in rates))
            cells.append(_judged(result["share_of_torch_matmul"], result["target"], result["met"]))
            cells.append(f"{result['share']:.2f}")
        lines.append(table_line(cells))
    return lines


def _accuracy(rows: list[dict[str, Any]]) -> list[str]:
    lines = table_head(["relative error of features", "bf16 to fp32", "fp32 to transformers"])
    for row in rows:
        context = f", {row['context']}" if row["model"].startswith("whisper") else ""
        errors = [row["bf16_error"], row["fp32_error"]]
        texts = ["" if error is None else f"{error:.2g}" for error in errors]
        lines.append(table_line([row["model"] + context, *texts]))
    return lines


def _scores(rows: list[dict[str, Any]]) -> list[str]:
    lines = table_head(["URDU, UA of a linear head", "fp32", "bf16", "decisions changed"])
    for row in rows:
        context = f", {row['context']}" if row["model"].startswith("whisper") else ""
        cells = [row["model"] + context, *(f"{100 * row[name]:.1f}" for name in PRECISIONS)]
        lines.append(table_line([*cells, f"{row['changed']} of {row['tested']}"]))
    return lines


def _title(row: dict[str, Any]) -> str:
    return f"{row['model']}, {ROWS[row['row']].title}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _judged(value: float | None, target: float | None, met: bool | None) -> str:
    if value is None:
        return f"no peer (≥ {target:g})"
    if target is None:
        return f"{value:.2f}"
    return f"{value:.2f} (≥ {target:g}: {'met' if met else 'missed'})"
