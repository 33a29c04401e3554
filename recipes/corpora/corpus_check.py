# SPDX-License-Identifier: Apache-2.0
"""Everything that can be found wrong with a corpus before anything is trained on it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from voxadapt.recipes.corpora.audio_findings import AudioLimits, audio_findings
from voxadapt.recipes.corpora.audio_quality import AudioQuality, measure_clip
from voxadapt.recipes.corpora.checked_rows import CheckedManifest, read_checked
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.duplicates import duplicate_findings, group_correlations
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.label_findings import label_findings
from voxadapt.recipes.corpora.measured_clip import MeasuredClip
from voxadapt.recipes.corpora.process_map import default_jobs, map_in_processes
from voxadapt.recipes.corpora.split_findings import split_findings


@dataclass
class CorpusCheck:
    """A corpus, what was measured of it and what was found.

    Attributes:
        manifest: What was read.
        clips: All rows that are clips, measured.
        findings: Errors first, then by kind and row.
    """

    manifest: CheckedManifest
    clips: list[MeasuredClip]
    findings: list[Finding]

    @property
    def usable(self) -> list[MeasuredClip]:
        """The clips whose audio can be used."""
        return [found for found in self.clips if found.quality.problem is None]

    @property
    def seconds(self) -> float:
        """All audio that can be used (seconds)."""
        return sum(found.quality.seconds for found in self.usable)


def check_corpus(
    source: str | os.PathLike[str],
    *,
    label: str = "label",
    text_column: str | None = None,
    limits: AudioLimits | None = None,
    allow_outside: bool = False,
    allow_speaker_overlap: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> CorpusCheck:
    """Read a manifest, decode all of its audio, and look for what is wrong.

    Args:
        source: Manifest (CSV or JSONL) or folder with one sub-folder per class.
        label: The column that holds the labels.
        text_column: The column that tells what is said; None takes one by its usual names.
        limits: Where a measurement becomes a warning.
        allow_outside: Whether audio may lie outside of the manifest's folder.
        allow_speaker_overlap: Whether shared speakers are a note and no error.
        jobs: Processes that decode; None takes as many as are worth it. The result is the same.
        progress: Whether to show bars where this takes more than seconds.

    Raises:
        DataError: No row at all can be read.
    """
    manifest = read_checked(source, label=label, allow_outside=allow_outside)
    numbered = manifest.clips
    only_clips = [clip for _, clip in numbered]
    qualities = _measure(only_clips, jobs, progress)
    clips = [
        MeasuredClip(row, manifest.rows[row].line, manifest.rows[row].values, clip, quality)
        for (row, clip), quality in zip(numbered, qualities, strict=True)
    ]
    check = CorpusCheck(manifest, clips, list(manifest.findings))
    check.findings += audio_findings(clips, limits or AudioLimits())
    check.findings += duplicate_findings(
        check.usable, lambda pairs: _correlations(pairs, jobs, progress)
    )
    check.findings += label_findings(
        [(found.row, found.line, found.clip) for found in clips], label
    )
    check.findings += split_findings(
        only_clips, allow_speaker_overlap=allow_speaker_overlap, text_column=text_column
    )
    check.findings.sort(key=lambda finding: finding.order)
    return check


def _measure(clips: Sequence[Clip], jobs: int | None, progress: bool) -> list[AudioQuality]:
    with tqdm(total=len(clips), desc="decoding", unit="clip", delay=2, disable=not progress) as bar:
        return map_in_processes(
            measure_clip,
            clips,
            jobs=jobs or default_jobs(len(clips)),
            crashed=_crashed,
            update=bar.update,
        )


def _crashed(clip: Clip) -> AudioQuality:
    return AudioQuality(
        problem=(
            "crash",
            "made the process that decoded it end without a word, twice",
            "leave it out, or convert it by another program; it is damaged, or needs more memory "
            "than there is",
        )
    )


def _correlations(
    pairs: Sequence[tuple[Clip, Clip]], jobs: int | None, progress: bool
) -> list[float]:
    """Correlate pairs; those with the same first clip go together, which is decoded once."""
    groups: list[tuple[Clip, list[Clip]]] = []
    for one, other in pairs:
        if not groups or groups[-1][0] is not one:
            groups.append((one, []))
        groups[-1][1].append(other)
    bar = tqdm(total=len(groups), desc="comparing", unit="clip", delay=2, disable=not progress)
    with bar:
        found = map_in_processes(
            group_correlations,
            groups,
            jobs=jobs or default_jobs(len(pairs)),
            crashed=lambda group: [0.0] * len(group[1]),
            update=bar.update,
        )
    return [correlation for group in found for correlation in group]
