# SPDX-License-Identifier: Apache-2.0
"""What codes of labels stand for: `W=angry,L=bored`, or a YAML file."""

from collections import Counter
from pathlib import Path

import yaml

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.found import Found, LeftOut


def read_label_map(text: str) -> dict[str, str]:
    """Read a map from labels as found to labels as wanted.

    Args:
        text: `FOUND=WANTED` pairs with commas between them, or the name of a YAML or JSON file that
            holds such pairs. An empty wanted label leaves the clips out.

    Raises:
        DataError: It is neither.
    """
    if text.lower().endswith((".yaml", ".yml", ".json")):
        return _read_file(Path(text))
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found, equals, wanted = part.partition("=")
        if not equals or not found.strip():
            raise DataError(
                f"--map: {part!r} is no pair; write FOUND=WANTED, as --map "
                '"W=angry,L=bored", or name a YAML file.'
            )
        pairs[found.strip()] = wanted.strip()
    if not pairs:
        raise DataError('--map: it is empty; write FOUND=WANTED, as --map "W=angry,L=bored".')
    return pairs


def _read_file(path: Path) -> dict[str, str]:
    try:
        # The base loader keeps text as it is written: `no: neutral` and `01: calm` stay text.
        pairs = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"--map: {path} cannot be read: {error}.") from error
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise DataError(
            f"--map: {path} must hold pairs, one a line, such as `W: angry`; an empty label leaves "
            "the clips out."
        )
    return pairs


def apply_label_map(found: Found, labels: dict[str, str]) -> None:
    """Rename the labels of clips in place; the old name is kept in the column `raw_label`.

    Args:
        found: Clips with labels as they were found.
        labels: A map that says something about every label that occurs.

    Raises:
        DataError: It says nothing about some.
    """
    counts = Counter(clip.label for clip in found.clips if clip.label)
    missing = sorted(label for label in counts if label not in labels)
    if missing:
        raise DataError(
            "--map: says nothing about some labels:",
            [
                f"{label!r} ({counts[label]:,} clips): add {label}=NAME, or {label}= to leave "
                "them out"
                for label in missing
            ],
        )
    kept = []
    for clip in found.clips:
        wanted = labels[clip.label] if clip.label else ""
        if clip.label and not wanted:
            reason = f"label {clip.label!r} is left out by --map"
            found.left_out.append(LeftOut(clip.id, reason))
            continue
        if clip.label and wanted != clip.label:
            clip.columns["raw_label"] = clip.label
            clip.label = wanted
        kept.append(clip)
    found.clips = kept
    unused = sorted(set(labels) - set(counts))
    if unused:
        found.notes.append(f"--map names labels that do not occur: {', '.join(unused)}")
