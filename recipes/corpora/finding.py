# SPDX-License-Identifier: Apache-2.0
"""One thing that is wrong with a corpus, or worth knowing about it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What was found, where, and what to do.

    Attributes:
        severity: `error` makes a run stop or its scores wrong, `warning` probably costs accuracy,
            `note` is worth knowing.
        kind: A short name to group by, such as `clipped`.
        message: What was measured, one sentence without its full stop.
        advice: What to do.
        row: Index of the manifest's row, counted from 0; None where it is about the corpus.
        clip: Id of the clip; None where it is about the corpus.
        line: Line of the manifest; None where it has none.
        leave_out: Whether the corpus is better without the row.
    """

    severity: Severity
    kind: str
    message: str
    advice: str
    row: int | None = None
    clip: str | None = None
    line: int | None = None
    leave_out: bool = False

    @property
    def order(self) -> tuple[int, str, int]:
        """What findings are sorted by: severity, kind, and the order of the manifest."""
        return SEVERITIES.index(self.severity), self.kind, -1 if self.row is None else self.row
