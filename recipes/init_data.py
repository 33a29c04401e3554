# SPDX-License-Identifier: Apache-2.0
"""Make a manifest out of any corpus: class folders, a table, file names, or a known release.

    python recipes/init_data.py recordings/ --pattern "{speaker}_{label}_{n}.wav"

The manifest is validated, its folds have no speaker in two, and what is not in it is listed.
"""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.clip_lengths import read_lengths
from voxadapt.recipes.corpora.intake.corpus_source import Intake, corpora_table, read_intake
from voxadapt.recipes.corpora.intake.emobox_splits import SplitManifest
from voxadapt.recipes.corpora.intake.fold_choice import (
    draw_folds,
    draw_shares,
    read_shares,
    warn_of_unknown_speakers,
)
from voxadapt.recipes.corpora.intake.found import LeftOut
from voxadapt.recipes.corpora.intake.manifest_writing import write_left_out, write_manifest
from voxadapt.recipes.corpora.intake.options import InitDataOptions
from voxadapt.recipes.corpora.intake.speaker_overlap import shared_by_folds
from voxadapt.recipes.corpora.intake.summary_table import summarise, summarise_left_out
from voxadapt.recipes.corpora.intake.table_source import NO_AUDIO
from voxadapt.recipes.corpora.manifest_columns import SPLITS
from voxadapt.recipes.corpora.split_checks import shared_speakers
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.refusal import refusal
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Run the recipe and return the manifests that were written."""
    options = parse(
        InitDataOptions, argv, prog="init_data.py", positionals=("source",), page=__doc__
    )
    if options.list_corpora:
        print(corpora_table())
        return []
    intake = read_intake(options)
    check_outs(intake, options.force)
    for note in intake.found.notes:
        logger.info("note: %s", note)
    if not intake.manifests:
        intake.manifests = [SplitManifest("", intake.found.clips)]
    lengths = measure(intake, options.on_bad_audio)
    outs = []
    for manifest in intake.manifests:
        if not manifest.clips:
            continue
        notes = [] if options.emobox else choose_parts(manifest, options)
        out = intake.out_of(manifest.suffix)
        seconds = [lengths[clip.id] for clip in manifest.clips]
        outside = write(out, manifest, seconds, intake)
        print(f"\n{out}\n{summarise(manifest.clips, seconds)}")
        warnings = [*overlap_notes(manifest), *warn_of_unknown_speakers(manifest.clips)]
        for note in [*notes, *warnings]:
            print(f"note: {note}")
        outs.append(out)
        print_next(out, manifest, outside=outside)
    report_left_out(outs[0], intake.found.left_out)
    return outs


def check_outs(intake: Intake, force: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        UsageError: A manifest is there and `--force` is not given, its name has another ending, or
            there is no such folder.
    """
    suffixes = [manifest.suffix for manifest in intake.manifests] or [""]
    for out in map(intake.out_of, suffixes):
        if out.suffix.lower() != ".csv":
            raise UsageError(f"--out {out}: a manifest that is written here ends in .csv")
        if out.exists() and not force:
            raise UsageError(
                f"--out {out} is there already; nothing was overwritten. Name another file, or "
                "replace it by --force"
            )
        if not out.parent.is_dir():
            raise UsageError(f"--out {out}: there is no folder {out.parent}; make it first")


def measure(intake: Intake, on_bad_audio: str) -> dict[str, float]:
    """Read the lengths of all clips (seconds, by id), and take the unusable ones out.

    Raises:
        DataError: There are such, and they are not to be skipped; or no clip is left.
    """
    clips = intake.found.clips
    missing = [one for one in intake.found.left_out if one.reason == NO_AUDIO]
    bad, lengths = [], {}
    for clip, length in zip(clips, read_lengths(clips), strict=True):
        if isinstance(length, str):
            bad.append(LeftOut(str(clip.path), length))
        else:
            lengths[clip.id] = length
    if (missing or bad) and on_bad_audio == "error":
        raise DataError(
            f"{len(missing) + len(bad):,} of {len(clips) + len(missing):,} clips have no usable "
            "audio file; repair them, or leave them out, listed, by --on-bad-audio skip:",
            [f"{one.what}: {one.reason}" for one in [*missing, *bad]],
        )
    intake.found.left_out += bad
    intake.found.clips = [clip for clip in clips if clip.id in lengths]
    for manifest in intake.manifests:
        manifest.clips = [clip for clip in manifest.clips if clip.id in lengths]
    if not lengths:
        raise DataError("no clip is left, so no manifest was written.", [one.what for one in bad])
    return lengths


def choose_parts(manifest: SplitManifest, options: InitDataOptions) -> list[str]:
    """Give clips folds and splits where they have none, or others were asked for.

    Returns:
        What was done, one sentence each.

    Raises:
        DataError: Some clips have a part and others have none, or none can be drawn.
    """
    clips = manifest.clips
    notes: list[str] = []
    if not any(clip.label for clip in clips):
        return ["no clip has a label, so no folds were drawn; for pretrain_adapter none are needed"]
    for name in ("split", "fold"):
        without = [clip.id for clip in clips if getattr(clip, name) is None]
        if without and len(without) < len(clips):
            raise DataError(
                f"{len(without):,} of {len(clips):,} clips have no {name}, such as {without[0]}; "
                f"give each one, or take none by --{name}-column none and draw them."
            )
    brought = [name for name in ("split", "fold") if getattr(clips[0], name) is not None]
    if options.shares:
        notes += draw_shares(clips, read_shares(options.shares), options.seed)
    if options.folds or (options.folds is None and not brought and not options.shares):
        notes += draw_folds(clips, options.folds, options.seed)
    elif options.folds == 0:
        for clip in clips:
            clip.fold = None
    if brought and options.folds is None and not options.shares:
        notes.append(f"the corpus brings its own {' and '.join(brought)}: kept as it is")
    return notes


def overlap_notes(manifest: SplitManifest) -> list[str]:
    """Say which parts share speakers."""
    clips = manifest.clips
    shared = shared_by_folds(clips)
    if any(clip.split for clip in clips):
        parts = {
            split: [place for place, clip in enumerate(clips) if clip.split == split]
            for split in SPLITS
        }
        shared += shared_speakers(clips, parts)
    if not shared:
        return []
    return [f"SPEAKER OVERLAP: {sentence}" for sentence in shared]


def write(out: Path, manifest: SplitManifest, seconds: list[float], intake: Intake) -> bool:
    """Write one manifest; returns whether it needs `--allow-outside`.

    Raises:
        UsageError: The folder may not be written.
    """
    try:
        return write_manifest(out, manifest.clips, seconds, has_ids=intake.found.has_ids)
    except OSError as error:
        raise UsageError(
            f"--out {out}: cannot be written ({error.strerror}); name a file elsewhere by --out"
        ) from error


def print_next(out: Path, manifest: SplitManifest, *, outside: bool) -> None:
    """Tell the command that takes a manifest, ready for a shell, or what has to be mended first."""
    clips: list[Clip] = manifest.clips
    data, refused = ["--data", str(out)], None
    if not any(clip.label for clip in clips):
        words = ["pretrain_adapter", *data]
    elif {clip.split for clip in clips} == {"test"}:
        words = ["score", "RUN", *data, "--split", "test"]
    else:
        further, refused = finetune_options(manifest)
        words = ["finetune", *data, *further]
        if "--allow-speaker-overlap" in further and not overlap_notes(manifest):
            print(
                "note: no test part can be had without speakers that are trained on, so finetune "
                "needs --allow-speaker-overlap; scores will not hold for other speakers"
            )
    if outside:
        words.append("--allow-outside")
        print(
            "note: the audio lies outside of the manifest's folder, so commands need "
            "--allow-outside, and the two cannot be moved apart"
        )
    command = shlex.join(["voxadapt", *words])
    if refused is None:
        print(f"next: {command}")
        return
    print(
        f"next: mend the corpus, since finetune would refuse this manifest: {refused}\n"
        f"Labels can be renamed by --map, and --force replaces the manifest. Then: {command}"
    )


def finetune_options(manifest: SplitManifest) -> tuple[list[str], str | None]:
    """What finetune has to be given besides a manifest.

    Returns:
        The options, and why it would refuse the manifest even so; None where it would begin.
    """
    clips = manifest.clips
    folds = any(clip.fold for clip in clips) and all(clip.split is None for clip in clips)
    fold, overlap = "all" if folds else None, bool(overlap_notes(manifest))
    words = ["--fold", "all"] if folds else []
    refused = refusal(clips, FinetuneOptions(fold=fold, allow_speaker_overlap=overlap))
    if refused and not overlap:
        overlap = refusal(clips, FinetuneOptions(fold=fold, allow_speaker_overlap=True)) is None
        refused = None if overlap else refused
    return [*words, *(["--allow-speaker-overlap"] if overlap else [])], refused


def report_left_out(out: Path, left_out: Sequence[LeftOut]) -> None:
    """Say what is not in the manifests, and write the list beside the first of them."""
    path = write_left_out(out, left_out)
    if path is not None:
        print(f"\nleft out: {len(left_out):,}, listed in {path}\n{summarise_left_out(left_out)}")


if __name__ == "__main__":
    leave(run_command(main))
