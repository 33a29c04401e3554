# SPDX-License-Identifier: Apache-2.0
"""Manifests: which clips a corpus has, and what is known of each."""

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS, read_class_folders
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, did_you_mean
from voxadapt.recipes.corpora.hf_name import HF_PREFIX
from voxadapt.recipes.corpora.manifest_columns import COLUMNS, SPLITS, RowReader, column_problems
from voxadapt.recipes.corpora.manifest_rows import Rows, iterate_rows
from voxadapt.recipes.corpora.natural_order import natural_key
from voxadapt.recipes.corpora.shard_pattern import WDS_PREFIX

__all__ = ["COLUMNS", "SPLITS", "Clip", "Manifest", "read_manifest"]


@dataclass
class Manifest:
    """The clips of a corpus, in the manifest's order.

    Attributes:
        clips: At least one.
        source: The manifest as it was named by the user.
    """

    clips: list[Clip]
    source: str

    @property
    def labels(self) -> list[str]:
        """All labels that occur, sorted."""
        return _distinct(clip.label for clip in self.clips)

    @property
    def speakers(self) -> list[str]:
        """All speakers that occur, sorted."""
        return _distinct(clip.speaker for clip in self.clips)

    @property
    def splits(self) -> list[str]:
        """All splits that occur, in the order train, valid, test."""
        found = {clip.split for clip in self.clips}
        return [split for split in SPLITS if split in found]

    @property
    def folds(self) -> list[str]:
        """All folds that occur, in natural order: 10 after 2."""
        return sorted(_distinct(clip.fold for clip in self.clips), key=natural_key)


def read_manifest(
    path: str | os.PathLike[str],
    *,
    label: str = "label",
    require_label: bool = False,
    allow_outside: bool = False,
) -> Manifest:
    """Read a manifest and check all of it.

    A manifest is a CSV (comma, header line) or JSON Lines file in UTF-8, or a folder with one
    sub-folder of audio per class. Columns: `path` (relative to the manifest), and optionally `id`,
    `start` and `end` (seconds), `label`, `speaker`, `split` (train, valid or test) and `fold`.
    Further columns are kept as text, and one of them can be the label. Space around values is taken
    off. A clip without `id` is called by its path as written, and `#start-end` for a part of it.
    `hf:NAME:SPLIT` is a dataset of the Hugging Face hub, or one in a folder (`read_hf_dataset`);
    `wds:PATTERN` are tar shards (`read_wds_shards`).

    Args:
        path: The `.csv` or `.jsonl` file, the folder, or what stands for other kinds of corpora.
        label: The column that holds the labels. Another than `label` must be there.
        require_label: Whether each clip must have a label.
        allow_outside: Whether audio may lie outside of the manifest's folder. Links inside of it
            are taken as they are named, wherever they lead.

    Raises:
        DataError: With every problem: columns that are missing or named twice, lines that cannot be
            read, audio that is not there or lies outside, a segment or split that makes no sense,
            ids that occur twice, labels that are missing although required, no clip at all.

    Example:
        >>> manifest = read_manifest("corpus/clips.csv", label="speaker")  # doctest: +SKIP
    """
    source = os.fspath(path)
    if is_container(source):
        return Manifest(_read_container(source, label, require_label), source)
    place = Path(os.path.abspath(path))
    if place.is_dir():
        clips, problems = _read_folder(place, label)
    elif place.is_file():
        with _collector_off():
            clips, problems = _read_file(place, label, require_label, allow_outside)
    else:
        raise DataError(f"the manifest {os.fspath(path)!r} does not exist{_neighbour(place)}")
    if not problems and not clips:
        problems = [_EMPTY_FOLDER if place.is_dir() else "it lists no clip; write one a line"]
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems):,} problems"
        raise DataError(f"the manifest {os.fspath(path)!r} has {count}:", problems)
    return Manifest(clips, os.fspath(path))


def is_container(source: str) -> bool:
    """Whether what a user names is no manifest and no folder, but holds audio inside of files."""
    return source.startswith((HF_PREFIX, WDS_PREFIX))


def _read_container(source: str, label: str, require_label: bool) -> list[Clip]:
    # Imported here: both look into audio, for which torch comes in; a manifest needs none of it.
    if source.startswith(HF_PREFIX):
        from voxadapt.recipes.corpora.hf_dataset import read_hf_dataset

        return read_hf_dataset(source, label=label, require_label=require_label)
    from voxadapt.recipes.corpora.wds_dataset import read_wds_shards

    return read_wds_shards(source, label=label, require_label=require_label)


_EMPTY_FOLDER = (
    "it holds no audio; give a folder with one sub-folder per class "
    f"({', '.join(AUDIO_EXTENSIONS)}), or a .csv or .jsonl file"
)


def _read_folder(folder: Path, label: str) -> tuple[list[Clip], list[str]]:
    if label != "label":
        return [], [
            f"it is a folder of classes, which has no column {label!r}; write a .csv or .jsonl "
            f"file with the columns path and {label}"
        ]
    return read_class_folders(folder)


def _read_file(
    file: Path, label: str, require_label: bool, allow_outside: bool
) -> tuple[list[Clip], list[str]]:
    found = Rows()
    reader = RowReader(
        str(file.parent), label=label, require_label=require_label, allow_outside=allow_outside
    )
    # Row by row: of a large corpus, rows and clips at once would take twice the memory.
    read = (reader.read(line, row) for line, row in iterate_rows(file, found, {*COLUMNS, label}))
    clips = [clip for clip in read if clip is not None]
    if not found.columns:
        return [], found.problems or [
            "it is empty; write a header (path,label) and one clip a line"
        ]
    problems = [
        *found.problems,
        *column_problems(found.columns, label, require_label=require_label),
    ]
    # Where a whole column is missing, each row need not say so again.
    if "path" not in found.columns:
        return [], problems
    told = set() if label in found.columns else set(reader.unlabelled)
    return clips, problems + [problem for problem in reader.problems if problem not in told]


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep Python's collector from going through a million clips again and again.

    It looks for cycles, which rows and clips have none of, and would take as long as reading them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _neighbour(place: Path) -> str:
    """Suggest what lies where the manifest should have been."""
    if not place.parent.is_dir():
        return f"; there is no folder {str(place.parent)!r} either"
    return did_you_mean(place.name, [entry.name for entry in place.parent.iterdir()])


def _distinct(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})
