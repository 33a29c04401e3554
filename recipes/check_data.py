# SPDX-License-Identifier: Apache-2.0
"""Find what is wrong with a corpus before training on it.

    python recipes/check_data.py corpus.csv --html check.html --fix clean.csv

Every clip is decoded once, by several processes, about a thousand times faster than it plays.
"""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.checking.fix import check_fix_target, reasons_file, write_fixed
from voxadapt.recipes.checking.page import check_page
from voxadapt.recipes.checking.table import check_record, check_table, count_severities
from voxadapt.recipes.corpora.audio_findings import AudioLimits
from voxadapt.recipes.corpora.corpus_check import CorpusCheck, check_corpus
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.options import require
from voxadapt.recipes.running.run_folder import write_json

logger = logging.getLogger(__name__)


@dataclass
class CheckOptions:
    """Decode all audio of a corpus, and list what is wrong with it, its labels and its splits.

    Errors make a run stop or its scores wrong, warnings probably cost accuracy, notes are worth
    knowing. The exit code is 0 where there is no error, 1 where there is, and 2 where the command
    cannot run as it was given.

    Args:
        data: Manifest (CSV or JSONL), folder with one sub-folder per class, `hf:NAME:SPLIT`, or
            `wds:PATTERN`.
        json: File for everything that was measured and found, JSON.
        html: File for a report with histograms, one HTML page that loads nothing.
        fix: New manifest (.csv or .jsonl) without the rows that have errors and without copies of
            other clips; all columns are kept. Beside it, NAME.reasons.csv tells why each row was
            left out.
        leave_out: With --fix, kinds of warnings whose clips are left out too, as in
            `--leave-out clipped short`.
        label: Column that holds the labels.
        text: Column that tells what is said. Left out, `text`, `transcript`, `transcription`,
            `sentence`, `utterance`, `prompt` or `word`, the first that is there.
        min_seconds: A shorter clip is a warning; under 0.01 s it is an error.
        max_seconds: A longer clip is a warning.
        max_clipped: A larger share of clipped samples is a warning.
        max_offset: A larger mean of the samples (full scale is 1) is a warning.
        show: Findings of each kind that are printed one by one; JSON and HTML have all.
        jobs: Processes that decode. Left out, one for each core, or a single one for few clips. The
            result does not depend on it.
        allow_speaker_overlap: Speakers in several splits or folds are a note and no error.
        allow_outside: Accept manifest paths outside the manifest's folder.
    """

    data: str
    json: str | None = None
    html: str | None = None
    fix: str | None = None
    leave_out: list[str] = field(default_factory=list)
    label: str = "label"
    text: str | None = None
    min_seconds: float = 0.1
    max_seconds: float = 30.0
    max_clipped: float = 0.001
    max_offset: float = 0.01
    show: int = 5
    jobs: int | None = None
    allow_speaker_overlap: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        require(self.jobs is None or self.jobs > 0, "--jobs", self.jobs, "1 or more")
        require(self.show >= 0, "--show", self.show, "0 or more")
        require(self.max_seconds > 0, "--max-seconds", self.max_seconds, "above 0")
        require(
            0 <= self.min_seconds < self.max_seconds,
            "--min-seconds",
            self.min_seconds,
            "from 0 to below --max-seconds",
        )
        for name in ("max_clipped", "max_offset"):
            value = getattr(self, name)
            require(value >= 0, f"--{name.replace('_', '-')}", value, "0 or more")
        if self.leave_out and not self.fix:
            raise ValueError(
                f"--leave-out {' '.join(self.leave_out)} is for the manifest that --fix writes, "
                "which was not given"
            )


def main(argv: Sequence[str] | None = None) -> CorpusCheck:
    """Run the recipe: prints what was found, and leaves with code 1 where there are errors."""
    options = parse(CheckOptions, argv, prog="check_data.py", positionals=("data",), page=__doc__)
    check_targets(options)
    limits = AudioLimits(
        options.min_seconds, options.max_seconds, options.max_clipped, options.max_offset
    )
    check = check_corpus(
        options.data,
        label=options.label,
        text_column=options.text,
        limits=limits,
        allow_outside=options.allow_outside,
        allow_speaker_overlap=options.allow_speaker_overlap,
        jobs=options.jobs,
        progress=sys.stderr.isatty(),
    )
    print(check_table(check, options.show))
    try:
        _write(check, options, limits)
    except OSError as error:
        raise UsageError(
            f"a report cannot be written: {error}. Make room, or name another file"
        ) from error
    if count_severities(check.findings)["error"]:
        raise SystemExit(1)
    return check


def check_targets(options: CheckOptions) -> None:
    """Refuse files that cannot be written, or must not be, before hours are spent.

    Raises:
        UsageError: One is a folder, in no folder, the manifest itself, or named twice.
    """
    named = [Path(out) for out in (options.json, options.html, options.fix) if out]
    source = Path(options.data)
    for number, out in enumerate(named):
        if out.is_dir() or not out.parent.is_dir():
            raise UsageError(f"{out}: give a file in a folder that is there")
        if out.exists() and source.exists() and out.samefile(source):
            raise UsageError(f"{out}: is what is checked; give another file")
        if os.path.abspath(out) in map(os.path.abspath, named[:number]):
            raise UsageError(f"{out}: is named for two things; give each its own file")
    if options.fix:
        check_fix_target(Path(options.fix), options.data)


def _write(check: CorpusCheck, options: CheckOptions, limits: AudioLimits) -> None:
    if options.json:
        write_json(Path(options.json), check_record(check))
    if options.html:
        page = printable(check_page(check, limits))
        write_aside(Path(options.html), page.encode("utf-8"))
    if options.fix:
        out = Path(options.fix)
        kept, left_out = write_fixed(check, out, options.leave_out)
        logger.info(
            "%s: %d rows; %d left out, listed with reasons in %s",
            out,
            kept,
            left_out,
            reasons_file(out),
        )
        kinds = {finding.kind for finding in check.findings if finding.row is not None}
        for kind in sorted(set(options.leave_out) - kinds):
            logger.warning(
                "--leave-out %s: no clip has a finding of that kind; those there are: %s",
                kind,
                ", ".join(sorted(kinds)) or "none",
            )


if __name__ == "__main__":
    leave(run_command(main))
