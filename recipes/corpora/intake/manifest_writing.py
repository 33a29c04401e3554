# SPDX-License-Identifier: Apache-2.0
"""Writes clips as a manifest, and what was left out beside it."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from voxadapt.adapters.written_aside import UNFINISHED, write_aside
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.csv_text import csv_text
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.found import LeftOut
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.corpora.manifest_paths import printable

LEFT_OUT_ENDING = ".left_out.csv"


def write_manifest(
    out: Path, clips: Sequence[Clip], seconds: Sequence[float], *, has_ids: bool
) -> bool:
    """Write a manifest, and read it back before it gets its name.

    Args:
        out: The `.csv` file; its folder exists. What is there is replaced.
        clips: At least one.
        seconds: Their lengths (seconds), aligned.
        has_ids: Whether ids are written.

    Returns:
        Whether audio lies outside of the manifest's folder, so that --allow-outside is needed.

    Raises:
        DataError: The manifest would have problems, such as an id that occurs twice.
        OSError: It cannot be written.
    """
    folder = Path(os.path.abspath(out)).parent
    paths = [_relative(clip.path, folder) for clip in clips]
    outside = any(path.split("/")[0] == ".." or os.path.isabs(path) for path in paths)
    rows = [
        _row(clip, path, length, has_ids)
        for clip, path, length in zip(clips, paths, seconds, strict=True)
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    content = csv_text(columns, rows).encode()
    # Read under another name first: a manifest that cannot be used must not lie there as one.
    trial = out.with_name(f".{uuid.uuid4().hex}{UNFINISHED}.csv")
    try:
        trial.write_bytes(content)
        try:
            labelled = any(clip.label for clip in clips)
            read_manifest(trial, require_label=labelled, allow_outside=True)
        except DataError as error:
            count = len(error.problems)
            raise DataError(
                f"no manifest was written; it would have {count:,} problems:", error.problems
            ) from None
    finally:
        trial.unlink(missing_ok=True)
    write_aside(out, content)
    return outside


def write_left_out(out: Path, left_out: Sequence[LeftOut]) -> Path | None:
    """Write what is not in a manifest, and why, beside it; returns the file, None if there is none.

    A list of an earlier manifest of the same name is removed or replaced.
    """
    path = out.with_suffix(LEFT_OUT_ENDING)
    if not left_out:
        path.unlink(missing_ok=True)
        return None
    rows = [{"what": printable(one.what), "reason": printable(one.reason)} for one in left_out]
    content = csv_text(["what", "reason"], rows).encode()
    write_aside(path, content)
    return path


def _row(clip: Clip, path: str, seconds: float, has_ids: bool) -> dict[str, str]:
    row = {"path": path}
    if has_ids:
        row["id"] = clip.id
    for name, value in (("start", clip.start), ("end", clip.end)):
        if value is not None:
            row[name] = f"{value:.10g}"
    for name in ("label", "speaker", "split", "fold"):
        value = getattr(clip, name)
        if value is not None:
            row[name] = value
    further = {name: value for name, value in clip.columns.items() if value}
    return {**row, "seconds": f"{seconds:.3f}", **further}


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # Windows: another drive
        return str(path)
