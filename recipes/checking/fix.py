# SPDX-License-Identifier: Apache-2.0
"""A manifest without its bad rows, and a list of why each was left out."""

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.corpora.checked_rows import CheckedManifest
from voxadapt.recipes.corpora.corpus_check import CorpusCheck
from voxadapt.recipes.corpora.csv_text import csv_text
from voxadapt.recipes.corpora.manifest import is_container
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.running.command_line import UsageError

_REASON_COLUMNS = ("line", "id", "path", "severity", "kind", "found", "advice")


def reasons_file(out: Path) -> Path:
    """Where the list of why goes: ``clean.csv`` to ``clean.reasons.csv``."""
    return out.with_name(f"{out.stem}.reasons.csv")


def check_fix_target(out: Path, source: str) -> None:
    """Refuse a target before hours are spent.

    Raises:
        UsageError: It is no `.csv` or `.jsonl`, is there already, or has no folder, or the corpus
            does not lie in files.
    """
    if is_container(source):
        raise UsageError(
            f"--fix {out}: a manifest names files, and the audio of {source!r} is in none of its "
            "own; leave --fix out, and train with --on-bad-audio skip"
        )
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise UsageError(f"--fix {out}: a manifest ends in .csv or .jsonl")
    if not out.parent.is_dir():
        raise UsageError(f"--fix {out}: there is no folder {str(out.parent)!r}; make it first")
    for file in (out, reasons_file(out)):
        if file.exists():
            raise UsageError(
                f"--fix {out}: {file} is there already; nothing was overwritten. Name another file "
                f"than {source}, or remove it"
            )


def write_fixed(check: CorpusCheck, out: Path, kinds: Collection[str] = ()) -> tuple[int, int]:
    """Write the rows that can be used, and the list of the others.

    All columns are kept as they are; `path` is rewritten so that it leads to the same file from the
    new manifest's folder.

    Args:
        check: What was found.
        out: The new manifest, `.csv` or `.jsonl`.
        kinds: Kinds of findings whose rows are left out as well.

    Returns:
        Rows written, and rows left out.

    Raises:
        OSError: The disk is full or may not be written.
    """
    manifest = check.manifest
    reasons = [
        finding
        for finding in check.findings
        if (finding.row is None and finding.line is not None)
        or (finding.row is not None and (finding.leave_out or finding.kind in kinds))
    ]
    left_out = {finding.row for finding in reasons} - {None}
    listed = [
        (
            finding.line or "",
            finding.clip or "",
            "" if finding.row is None else manifest.rows[finding.row].values.get("path", ""),
            finding.severity,
            finding.kind,
            finding.message,
            finding.advice,
        )
        for finding in sorted(reasons, key=lambda finding: (finding.line or 0, finding.row or 0))
    ]
    kept: list[dict[str, Any]] = []
    originals = _json_rows(manifest.source) if out.suffix.lower() == ".jsonl" else {}
    for index, row in enumerate(manifest.rows):
        if index in left_out:
            continue
        path = _path_from(out.parent, manifest, row.values["path"])
        if printable(path) != path:
            told = "the name of the file is not UTF-8, and a manifest is", "rename it"
            listed.append((row.line or "", row.name, path, "error", "manifest", *told))
            left_out.add(index)
            continue
        kept.append({**originals.get(row.line or 0, row.values), "path": path})
    is_csv = out.suffix.lower() == ".csv"
    _write(out, csv_text(manifest.columns, kept) if is_csv else _as_jsonl(kept))
    reasons_rows = [dict(zip(_REASON_COLUMNS, row, strict=True)) for row in listed]
    _write(reasons_file(out), printable(csv_text(_REASON_COLUMNS, reasons_rows)))
    return len(kept), len(left_out)


def _json_rows(source: str) -> dict[int, dict[str, Any]]:
    """The objects of a JSON Lines manifest by line: numbers stay numbers; of others, nothing."""
    rows: dict[int, dict[str, Any]] = {}
    if not source.lower().endswith(".jsonl"):
        return rows
    with open(source, encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                rows[number] = json.loads(line)
            except ValueError:  # such a line is no row
                continue
    return rows


def _path_from(folder: Path, manifest: CheckedManifest, written: str) -> str:
    source = os.path.abspath(manifest.source)
    home = source if os.path.isdir(source) else os.path.dirname(source)
    if os.path.abspath(folder) == home or os.path.isabs(written):
        return written
    absolute = os.path.normpath(os.path.join(home, written))
    return Path(os.path.relpath(absolute, os.path.abspath(folder))).as_posix()


def _as_jsonl(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _write(path: Path, text: str) -> None:
    write_aside(path, text.encode("utf-8"))
