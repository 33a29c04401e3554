# SPDX-License-Identifier: Apache-2.0
"""From the options of ``init-data`` to the clips of the source that they name."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.corpora.intake.audio_tree import list_tree
from voxadapt.recipes.corpora.intake.column_guess import NOT_TAKEN
from voxadapt.recipes.corpora.intake.description import known_names, load_description
from voxadapt.recipes.corpora.intake.emobox_lists import corpus_folder, read_lists
from voxadapt.recipes.corpora.intake.emobox_source import audio_folder, find_emobox
from voxadapt.recipes.corpora.intake.emobox_splits import SplitManifest, arrange_splits
from voxadapt.recipes.corpora.intake.folder_source import find_in_folders
from voxadapt.recipes.corpora.intake.found import Found, normalise_splits
from voxadapt.recipes.corpora.intake.known_corpus import find_known
from voxadapt.recipes.corpora.intake.label_map import apply_label_map, read_label_map
from voxadapt.recipes.corpora.intake.options import TABLE_COLUMNS, InitDataOptions
from voxadapt.recipes.corpora.intake.pattern_source import find_by_pattern
from voxadapt.recipes.corpora.intake.summary_table import draw_table
from voxadapt.recipes.corpora.intake.table_source import find_in_table
from voxadapt.recipes.running.command_line import UsageError


@dataclass
class Intake:
    """What the options name.

    Attributes:
        found: The clips.
        out: The manifest to write, where there is one.
        manifests: Several, where a published split needs them; empty where all clips are one.
    """

    found: Found
    out: Path
    manifests: list[SplitManifest] = field(default_factory=list)

    def out_of(self, suffix: str) -> Path:
        """The file of one of several manifests."""
        return self.out.with_name(f"{self.out.stem}{suffix}{self.out.suffix}")


def read_intake(options: InitDataOptions) -> Intake:
    """Read the source that the options name.

    Args:
        options: Those of init-data.

    Raises:
        UsageError: They name none, or one that is not there.
        DataError: The source cannot be used.
    """
    if options.emobox and options.corpus:
        _check_no_table_options(options)
        return _read_emobox(options, options.emobox, options.corpus)
    if not options.source:
        raise UsageError(
            "name a folder or a table: voxadapt init-data FOLDER; --list-corpora prints what is "
            "known by name, --help the rest"
        )
    source = Path(os.path.abspath(options.source))
    if not source.exists():
        near = (
            did_you_mean(source.name, os.listdir(source.parent)) if source.parent.is_dir() else ""
        )
        raise UsageError(f"{options.source}: there is no such folder or file{near}")
    if source.is_dir():
        _check_no_table_options(options)
    if options.corpus:
        found, name = _read_known(options, options.corpus, source)
    elif source.is_dir():
        found, name = _read_folder(options, source), "manifest.csv"
    else:
        found, name = _read_table(options, source), f"{source.stem}.manifest.csv"
    if options.map:
        apply_label_map(found, read_label_map(options.map))
    _drop_columns(options, found)
    if options.fold_column not in (None, NOT_TAKEN) and (source.is_dir() or options.corpus):
        _take_folds(str(options.fold_column), found)
    if not found.clips:
        raise DataError("all clips are left out, so no manifest was written.")
    given = Path(options.source)
    home = given if source.is_dir() else given.parent
    return Intake(found, Path(options.out) if options.out else home / name)


def corpora_table() -> str:
    """The known corpora as a table."""
    rows = [["name", "corpus", "clips", "classes", "licence", "layout known from"]]
    for name in known_names():
        one = load_description(name)
        sets = "; ".join(
            f"{number}: {', '.join(classes)}" if place == 0 else number
            for place, (number, classes) in enumerate(one.classes.items())
        )
        clips = f"{one.clips:,}" if one.clips else "by release"
        title = one.title.split(",")[0]
        rows.append(
            [
                name,
                f"{title} ({one.language.split(' (')[0]})",
                clips,
                sets,
                one.licence,
                one.layout_from,
            ]
        )
    ways = (
        "voxadapt init-data FOLDER --corpus NAME [--classes SET]\n"
        "The first class set is the default; licences are as commonly stated: read them at the "
        "source (docs/corpora.md has the links)."
    )
    return f"{draw_table(rows, left=6)}\n\n{ways}"


def _read_known(options: InitDataOptions, corpus: str, source: Path) -> tuple[Found, str]:
    """Read a known corpus; returns its clips, and the name of their manifest."""
    if not source.is_dir():
        raise UsageError(f"{options.source}: --corpus takes the folder of the corpus, not a file")
    description = load_description(corpus)
    found = find_known(description, list_tree(source), classes=options.classes)
    classes = f"-{options.classes}" if options.classes else ""
    return found, f"{description.name}{classes}.manifest.csv"


def _read_folder(options: InitDataOptions, source: Path) -> Found:
    if options.pattern:
        found = find_by_pattern(list_tree(source), options.pattern)
    else:
        found = find_in_folders(source)
    unknown = list(normalise_splits(found.clips))
    if unknown:
        raise DataError(
            f"--pattern: {{split}} takes {some_of(unknown)}, which are no names of train, valid or "
            "test; call the field otherwise."
        )
    return found


def _read_table(options: InitDataOptions, source: Path) -> Found:
    if options.pattern:
        raise UsageError("--pattern: it is about a folder's file names; leave it out for a table")
    named = {name: getattr(options, f"{name}_column") for name in TABLE_COLUMNS}
    audio = Path(os.path.abspath(options.audio)) if options.audio else source.parent
    return find_in_table(source, named, audio, options.encoding)


def _drop_columns(options: InitDataOptions, found: Found) -> None:
    """Obey `--speaker-column none` and the like, in any source."""
    for name in ("speaker", "split", "fold"):
        if getattr(options, f"{name}_column") == NOT_TAKEN:
            for clip in found.clips:
                setattr(clip, name, None)


def _take_folds(column: str, found: Found) -> None:
    """Take a column of names or of a known corpus for the folds.

    Raises:
        UsageError: A clip has no such value.
    """
    for clip in found.clips:
        own = {"speaker": clip.speaker, "fold": clip.fold}
        value = own.get(column) or clip.columns.get(column)
        if not value:
            columns = sorted({name for one in found.clips for name in one.columns})
            raise UsageError(
                f"--fold-column {column}: {clip.id} has no such value; the columns are "
                f"{', '.join(['speaker', *columns])}"
            )
        clip.fold = value


def _check_no_table_options(options: InitDataOptions) -> None:
    """Refuse options that are about tables.

    Raises:
        UsageError: One is given.
    """
    given = {f"--{name}-column": getattr(options, f"{name}_column") for name in TABLE_COLUMNS}
    wrong = [
        flag
        for flag, value in given.items()
        if value not in (None, NOT_TAKEN) and flag != "--fold-column"
    ]
    wrong += [f"--{name}" for name in ("audio", "encoding") if getattr(options, name)]
    if wrong:
        raise UsageError(
            f"{wrong[0]}: it is about a table, and {options.source or '--emobox'} is none; name "
            "the table, or leave the option out"
        )


def _read_emobox(options: InitDataOptions, emobox: str, corpus: str) -> Intake:
    root = Path(os.path.abspath(emobox))
    folder = corpus_folder(root, corpus)
    lists = read_lists(folder)
    given = Path(os.path.abspath(options.source)) if options.source else None
    audio = audio_folder(root, lists.name, given)
    found = find_emobox(lists, audio)
    manifests, notes = arrange_splits(lists, found.clips)
    found.notes += notes
    home = audio if options.source is None or given != audio else Path(options.source)
    out = Path(options.out) if options.out else home / f"emobox-{lists.name}.csv"
    return Intake(found, out, manifests)
