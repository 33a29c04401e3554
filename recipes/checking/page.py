# SPDX-License-Identifier: Apache-2.0
"""What a check of a corpus found, as one HTML page that loads nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from voxadapt.recipes.checking.histogram import histogram
from voxadapt.recipes.checking.table import count_severities, group_findings
from voxadapt.recipes.corpora.audio_findings import AudioLimits
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.corpus_check import CorpusCheck
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.manifest_columns import SPLITS
from voxadapt.recipes.corpora.measured_clip import MeasuredClip
from voxadapt.recipes.reporting.figures import share_bar
from voxadapt.recipes.reporting.page import build_page, text

_MOST_LISTED = 1_000  # of one kind: a page of more is none that a browser shows
_OPEN_BELOW = 20
_MOST_LABELS = 60
_MEANINGS = {
    "error": "make a run stop, or its scores wrong",
    "warning": "probably cost accuracy",
    "note": "are worth knowing",
}

_STYLE = """
.finding + .finding { margin-top: .5rem; }
.finding .advice { margin-bottom: .75rem; color: var(--muted); }
.finding table { font-size: .875rem; table-layout: fixed; }
.finding th:first-child { width: 4rem; }
.finding th:nth-child(2) { width: 36%; }
@media (max-width: 40rem) {
  #classes .bar { display: none; }
  .finding td, .finding th { padding-left: .25rem; padding-right: .25rem; }
  .finding th:first-child { width: 2.5rem; }
}
"""


def check_page(check: CorpusCheck, limits: AudioLimits) -> str:
    """Set everything that was found, and histograms of the audio.

    Args:
        check: What was found.
        limits: Where warnings began.
    """
    name = Path(check.manifest.source).name
    sections = [
        _head(check, name),
        _findings(check.findings),
        _figures(check.usable, limits) if check.usable else "",
        _classes(check.usable) if any(found.clip.label for found in check.usable) else "",
    ]
    return build_page(f"Check of {name}", "\n".join(sections))


def _head(check: CorpusCheck, name: str) -> str:
    clips = [found.clip for found in check.clips]
    counts = count_severities(check.findings)
    facts = {
        "Rows of the manifest": f"{len(check.manifest.rows):,}",
        "Clips that can be used": f"{len(check.usable):,}",
        "Audio": f"{check.seconds / 3600:.2f} h",
        "Speakers": _distinct(clips, lambda clip: clip.speaker),
        "Labels": _distinct(clips, lambda clip: clip.label),
        "Clips by split": " / ".join(
            f"{split} {count:,}"
            for split, count in Counter(clip.split or "none" for clip in clips).most_common()
        ),
        "Sample rates": _tally(check.usable, lambda found: f"{found.quality.rate:,} Hz"),
        "Formats": _tally(
            check.usable, lambda found: f"{found.quality.container} {found.quality.encoding}"
        ),
        "Channels": _tally(check.usable, lambda found: str(found.quality.channels)),
    }
    rows = "".join(
        f"<div><dt>{title}</dt><dd>{text(told)}</dd></div>" for title, told in facts.items() if told
    )
    scores = "".join(
        f'<div class="score"><h2>{severity.capitalize()}s</h2><div class="value">{count:,}</div>'
        f"<p>{_MEANINGS[severity]}</p></div>"
        for severity, count in counts.items()
    )
    return f"""<style>{_STYLE}</style>
<header>
<p class="kind">Check of a corpus</p>
<h1><bdi>{text(name)}</bdi></h1>
<div class="scores">{scores}</div>
<dl class="facts">{rows}</dl>
</header>"""


def _distinct(clips: Sequence[Clip], value: Callable[[Clip], str | None]) -> str:
    found = {value(clip) for clip in clips} - {None}
    return f"{len(found):,}" if found else "not known"


def _tally(clips: Sequence[MeasuredClip], value: Callable[[MeasuredClip], str]) -> str:
    counts = Counter(map(value, clips))
    told = [f"{name} ({count:,})" for name, count in counts.most_common(4)]
    return ", ".join(told) + (f" and {len(counts) - 4} more" if len(counts) > 4 else "")


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return '<section><h2>Findings</h2><p class="lead">Nothing was found.</p></section>'
    listed = "\n".join(map(_group, group_findings(findings)))
    return f"""<section id="findings"><h2>Findings</h2>
<p class="lead">Errors {_MEANINGS["error"]}; warnings {_MEANINGS["warning"]}; notes
{_MEANINGS["note"]}.</p>
{listed}
</section>"""


def _group(group: Sequence[Finding]) -> str:
    first = group[0]
    rows = "".join(
        "<tr>"
        f'<td class="number faint">{finding.line or ""}</td>'
        f'<td class="clip"><bdi class="mono">{text(finding.clip or "the corpus")}</bdi></td>'
        f"<td>{text(finding.message)}</td>"
        "</tr>"
        for finding in group[:_MOST_LISTED]
    )
    more = len(group) - _MOST_LISTED
    rest = f'<p class="faint">{more:,} more; --json lists all.</p>' if more > 0 else ""
    advices = "".join(
        f"<p>{text(advice)}.</p>" for advice in dict.fromkeys(finding.advice for finding in group)
    )
    opened = " open" if first.severity == "error" and len(group) < _OPEN_BELOW else ""
    return f"""<details{opened} class="finding">
<summary>{text(first.severity.capitalize())}: {text(first.kind)}
<span class="faint">{len(group):,}</span></summary>
<div><div class="advice">{advices}</div>
<table class="list"><thead><tr><th class="number">Line</th><th>Clip</th><th>What was found</th></tr>
</thead><tbody>{rows}</tbody></table>{rest}</div>
</details>"""


def _figures(clips: Sequence[MeasuredClip], limits: AudioLimits) -> str:
    qualities = [found.quality for found in clips]
    lines = [("shortest", limits.min_seconds), ("longest", limits.max_seconds)]
    edges = [("limit", -limits.offset), ("limit", limits.offset)]
    drawn = [
        histogram("Length", [quality.seconds for quality in qualities], "seconds", lines),
        histogram("Level", [quality.level for quality in qualities], "dB of full scale"),
        histogram("Peak", [quality.peak for quality in qualities], "of full scale"),
        histogram("Offset", [quality.offset for quality in qualities], "of full scale", edges),
    ]
    return f"""<section id="audio"><h2>Audio</h2>
<p class="lead">All {len(clips):,} clips that can be used. Rest the pointer on a bar for its
count.</p>
<div class="charts">{"".join(drawn)}</div>
</section>"""


def _classes(clips: Sequence[MeasuredClip]) -> str:
    counts = Counter(found.clip.label for found in clips if found.clip.label)
    splits = [split for split in SPLITS if any(found.clip.split == split for found in clips)]
    by_split = Counter((found.clip.label, found.clip.split) for found in clips)
    most = max(counts.values())
    heads = "".join(f'<th class="number">{split}</th>' for split in splits)
    rows = "".join(
        f'<tr><th scope="row" class="name"><bdi>{text(label)}</bdi></th>'
        f'<td class="bar">{share_bar(count / most, counts.total() / len(counts) / most)}</td>'
        f'<td class="number">{count:,}</td>'
        + "".join(f'<td class="number">{by_split[label, split]:,}</td>' for split in splits)
        + "</tr>"
        for label, count in counts.most_common(_MOST_LABELS)
    )
    more = len(counts) - _MOST_LABELS
    rest = (
        f'<p class="faint">{more:,} labels with fewer clips are not shown.</p>' if more > 0 else ""
    )
    return f"""<section id="classes"><h2>Labels</h2>
<p class="lead">Clips of each label; the mark is the mean of all labels.</p>
<table class="list recall"><thead>
<tr><th>Label</th><th class="bar"></th><th class="number">Clips</th>{heads}</tr></thead>
<tbody>{rows}</tbody></table>{rest}
</section>"""
