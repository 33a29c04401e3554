# SPDX-License-Identifier: Apache-2.0
"""One clip of a corpus."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Clip:
    """An audio file, or a part of one, and what the manifest says about it.

    Attributes:
        id: Unique in its manifest.
        path: Absolute path of the audio file.
        start: Where the clip begins in the file (seconds); None is the file's beginning.
        end: Where it ends (seconds); None is the file's end.
        label: The class, from the column that was chosen as the label; None where it is unknown.
        speaker: Who speaks; None where it is unknown.
        split: `train`, `valid` or `test`; None where the manifest does not say.
        fold: The cross-validation fold; None where the manifest does not say.
        columns: All further columns, as text.
    """

    id: str
    path: Path
    start: float | None = None
    end: float | None = None
    label: str | None = None
    speaker: str | None = None
    split: str | None = None
    fold: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
