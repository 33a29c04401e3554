# SPDX-License-Identifier: Apache-2.0
"""What a check of a corpus found, as text for a terminal and as JSON."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from voxadapt.recipes.corpora.corpus_check import CorpusCheck
from voxadapt.recipes.corpora.finding import SEVERITIES, Finding
from voxadapt.recipes.corpora.manifest_paths import printable

_PLURALS = {"error": "errors", "warning": "warnings", "note": "notes"}


def count_severities(findings: Sequence[Finding]) -> dict[str, int]:
    """Findings by severity, those without one included."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def group_findings(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of the same severity and kind together; they come sorted."""
    groups = groupby(findings, key=lambda finding: (finding.severity, finding.kind))
    return [list(group) for _, group in groups]


def check_table(check: CorpusCheck, shown: int) -> str:
    """Write the findings for people.

    Args:
        check: What was found.
        shown: Findings of each kind that are told one by one.
    """
    lines = [printable(headline(check)), ""]
    groups = group_findings(check.findings)
    if groups:
        width = max(len(group[0].kind) for group in groups)
        lines += [f"{'severity':<9} {'what':<{width}} {'found':>7}"]
        lines += [
            f"{group[0].severity:<9} {group[0].kind:<{width}} {len(group):>7,}" for group in groups
        ]
    for group in groups:
        lines += ["", f"{group[0].severity}: {group[0].kind}"]
        for finding in group[:shown]:
            lines.append(f"  {printable(place(finding))}{printable(finding.message)}")
        if len(group) > shown:
            lines.append(f"  and {len(group) - shown:,} more; --show {len(group)} or --json FILE")
        for advice in dict.fromkeys(finding.advice for finding in group[:shown]):
            lines.append(f"  -> {printable(advice)}")
    return "\n".join([*lines, "", verdict(check)])


def headline(check: CorpusCheck) -> str:
    """One line about the corpus."""
    clips = [found.clip for found in check.clips]
    facts = [
        f"{len(check.manifest.rows):,} rows",
        f"{len(check.usable):,} usable clips",
        f"{check.seconds / 3600:.2f} h",
    ]
    for name in ("speaker", "label"):
        count = len({getattr(clip, name) for clip in clips} - {None})
        facts += [f"{count:,} {name}{'' if count == 1 else 's'}"] if count else []
    return f"{check.manifest.source}: {', '.join(facts)}"


def verdict(check: CorpusCheck) -> str:
    """One line about what was found."""
    counts = count_severities(check.findings)
    if not check.findings:
        return "nothing found"
    return ", ".join(
        f"{count:,} {severity if count == 1 else _PLURALS[severity]}"
        for severity, count in counts.items()
    )


def place(finding: Finding) -> str:
    """Where something was found: ``line 7, a.wav: ``, or nothing."""
    parts = [f"line {finding.line}"] if finding.line else []
    parts += [finding.clip] if finding.clip else []
    return f"{', '.join(parts)}: " if parts else ""


def check_record(check: CorpusCheck) -> dict[str, Any]:
    """Everything that was measured and found, for JSON."""
    record = {
        "manifest": check.manifest.source,
        "rows": len(check.manifest.rows),
        "usable_clips": len(check.usable),
        "hours": round(check.seconds / 3600, 6),
        "counts": count_severities(check.findings),
        "kinds": {
            f"{group[0].severity}: {group[0].kind}": len(group)
            for group in group_findings(check.findings)
        },
        "findings": [dataclasses.asdict(finding) for finding in check.findings],
        "clips": [
            {"id": found.clip.id, "line": found.line, **_measurements(found.quality)}
            for found in check.clips
        ],
    }
    cleaned: dict[str, Any] = _clean(record)
    return cleaned


def _measurements(quality: Any) -> dict[str, Any]:
    return {
        "usable": quality.problem is None,
        "seconds": round(quality.seconds, 6),
        "rate": quality.rate,
        "channels": quality.channels,
        "container": quality.container,
        "encoding": quality.encoding,
        "peak": round(quality.peak, 6),
        "level_db": round(quality.level, 2) if math.isfinite(quality.level) else None,
        "offset": round(quality.offset, 6),
        "clipped": round(quality.clipped, 6),
        "digest": quality.digest,
    }


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value
