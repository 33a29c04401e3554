# SPDX-License-Identifier: Apache-2.0
"""A dataset of the Hugging Face `datasets` library as a manifest: each row is a clip."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, did_you_mean
from voxadapt.recipes.corpora.hf_loading import load_splits
from voxadapt.recipes.corpora.hf_name import parse_hf_name
from voxadapt.recipes.corpora.manifest_columns import says_splits, split_meant_by, splits_of_names
from voxadapt.recipes.corpora.manifest_paths import printable

SPEAKER_COLUMNS = ("speaker", "speaker_id", "spk_id", "spk", "speakers", "client_id", "actor")
"""Columns that say who speaks, by their usual names: the first that is there is taken."""

_BATCH_ROWS = 1_000


@dataclass(slots=True)
class HFAudio:
    """The audio of one row: its bytes lie in the dataset's table, which is mapped into memory.

    Attributes:
        rows: The column of audio, as Arrow hands it out.
        row: Number of the row, from 0.
        place: The dataset and its split.
        file: Name of the file that it was, if any.
        size: Bytes of the audio.
        seconds: None: the length is not known before the audio's header is read.
        digest: None: nor is the content.
    """

    rows: Any
    row: int
    place: str
    file: str
    size: int
    seconds: float | None = None
    digest: bytes | None = None

    @property
    def order(self) -> tuple[str, int]:
        """Where it lies."""
        return self.place, self.row

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.place}[{self.row}]{f' ({self.file})' if self.file else ''}"

    def read(self) -> bytes:
        """The bytes of the audio file that the row holds."""
        cell = self.rows[self.row].column(0)[0]
        return bytes(cell["bytes"].as_py())


def read_hf_dataset(text: str, *, label: str, require_label: bool) -> list[Clip]:
    """Load a dataset and make a clip of each row. Audio is never decoded by the library.

    The column of type Audio is the audio; one with class names as label gives those names. The
    splits of the dataset are the clips' splits (validation is `valid`); of a dataset with nothing
    but a train split, nothing is known of splits, unless it has a column `split` that says them.
    `speaker` is the first column of `SPEAKER_COLUMNS`, `fold` is the fold, and all further columns
    of text and numbers are kept.

    Args:
        text: `hf:NAME`, `hf:NAME:SPLIT` or `hf:NAME:CONFIG:SPLIT`.
        label: The column that holds the labels. Another than `label` must be there.
        require_label: Whether each clip must have a label.

    Raises:
        DataError: The dataset cannot be had; it has no column of audio, or several; the label
            column is not there, or labels or audio are missing.
    """
    parts = load_splits(parse_hf_name(text))
    clips: list[Clip] = []
    problems: list[str] = []
    names = splits_of_names(parts)
    for name, part in parts.items():
        reader = _SplitReader(text, name, part, label, require_label=require_label)
        clips += reader.clips(names[name])
        problems += reader.problems
    if not clips and not problems:
        problems = ["it has no row"]
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems):,} problems"
        raise DataError(f"the dataset {text!r} has {count}:", problems)
    return clips


class _SplitReader:
    """Makes clips of one split.

    Args:
        source: The dataset as the user names it.
        split: Name of the split.
        part: The split's rows, a `datasets.Dataset`.
        label: The column that holds the labels.
        require_label: Whether each clip must have a label.

    Raises:
        DataError: A column that is needed is not there.
    """

    def __init__(
        self, source: str, split: str, part: Any, label: str, *, require_label: bool
    ) -> None:
        self.problems: list[str] = []
        self._source = source
        self._split = split
        self._part = part
        self._label = label
        self._require_label = require_label
        self._audio = _audio_column(source, part.features)
        needed = require_label or label != "label"
        if needed and label not in part.features:
            raise DataError(_no_label(source, label, part.features))
        if label in part.features and not _is_plain(part.features[label]):
            raise DataError(
                f"{source!r}: column {label!r} holds {part.features[label]}, and a label is one "
                "text, number or class; name another column with --label"
            )
        self._speaker = next((name for name in SPEAKER_COLUMNS if name in part.features), None)
        self._rows = part.select_columns([self._audio]).with_format("arrow")

    def clips(self, split: str | None) -> list[Clip]:
        """Return the clips; rows without what they need become problems."""
        columns = {
            name: _texts(self._part, name)
            for name in self._part.features
            if name != self._audio and _is_plain(self._part.features[name])
        }
        given = columns.get("split", []) if split is None else []
        given = given if says_splits(given) else []
        places = list(self._places())
        ids = _ids(self._split, [path for _, path in places])
        found: list[Clip] = []
        for row, (clip_id, (size, path)) in enumerate(zip(ids, places, strict=True)):
            values = {name: texts[row] for name, texts in columns.items()}
            clip_label = values.get(self._label) or None
            if clip_label is None and self._require_label:
                self._add(row, f"the label column {self._label!r} is empty")
            clip = self._clip(row, clip_id, size, path)
            if clip is None:
                continue
            clip.label = clip_label
            clip.speaker = values.get(self._speaker or "") or None
            clip.split = split or (split_meant_by(given[row]) if given else None)
            clip.fold = values.get("fold") or None
            used = {self._label, self._speaker, "fold", "split" if given else None}
            clip.columns = {name: value for name, value in values.items() if name not in used}
            found.append(clip)
        return found

    def _add(self, row: int, problem: str) -> None:
        self.problems.append(f"split {self._split}, row {row}: {problem}")

    def _clip(self, row: int, clip_id: str, size: int | None, path: str) -> Clip | None:
        if size is not None:
            root = Path(os.path.abspath(os.sep)) / self._source
            audio = HFAudio(self._rows, row, f"{self._source} {self._split}", path, size)
            return Clip(clip_id, root / self._split / str(row), source=audio)
        if os.path.isabs(path) and os.path.isfile(path):
            return Clip(clip_id, Path(path))
        self._add(row, f"it holds no audio, and {path!r} is no absolute path of a file that exists")
        return None

    def _places(self) -> Iterator[tuple[int | None, str]]:
        """Each row's bytes, None where it has only a path, and its path or the name of its file."""
        import pyarrow.compute

        for table in self._rows.iter(_BATCH_ROWS):
            cells = table.column(0)
            sizes = pyarrow.compute.binary_length(pyarrow.compute.struct_field(cells, "bytes"))
            paths = pyarrow.compute.struct_field(cells, "path")
            for size, path in zip(sizes.to_pylist(), paths.to_pylist(), strict=True):
                yield size, printable(path or "")


def _audio_column(source: str, features: Any) -> str:
    from datasets import Audio

    found = [
        name
        for name, feature in features.items()
        # Tables that were written without the library hold the same, and no type.
        if isinstance(feature, Audio)
        or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})
    ]
    if "audio" in found:
        return "audio"
    if len(found) == 1:
        return str(found[0])
    named = ", ".join(repr(name) for name in features) or "none"
    if found:
        raise DataError(f"{source!r} has several columns of audio, none called 'audio': {found}")
    raise DataError(
        f"{source!r} has no column of type Audio; its columns are: {named}. Where one holds paths, "
        "write a manifest (CSV or JSONL) of them"
    )


def _no_label(source: str, label: str, features: Any) -> str:
    from datasets import ClassLabel

    classes = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    named = ", ".join(repr(name) for name in features)
    hint = did_you_mean(label, features)
    if classes and not hint:
        hint = f"; {classes[0]!r} holds classes: --label {classes[0]}"
    return f"{source!r} has no column {label!r} for the labels; its columns are: {named}{hint}"


def _is_plain(feature: Any) -> bool:
    """Whether a column holds one text, number or class a row."""
    from datasets import ClassLabel, Value

    return isinstance(feature, ClassLabel) or (
        isinstance(feature, Value) and "binary" not in feature.dtype
    )


def _texts(part: Any, column: str) -> list[str]:
    """A column as text; a class by its name, and nothing where there is none."""
    from datasets import ClassLabel

    feature = part.features[column]
    rows = part.select_columns([column]).with_format("arrow")
    values = [value for table in rows.iter(_BATCH_ROWS) for value in table.column(0).to_pylist()]
    if isinstance(feature, ClassLabel):
        # -1 is how datasets hide the labels of a test split.
        return [
            "" if value is None or value < 0 else str(feature.int2str(value)) for value in values
        ]
    return ["" if value is None else str(value).strip() for value in values]


def _ids(split: str, paths: Sequence[str]) -> list[str]:
    """Ids by the names of files where each row has another, else by the rows."""
    names = [os.path.basename(path) for path in paths]
    if all(names) and len(set(names)) == len(names):
        return [f"{split}/{name}" for name in names]
    return [f"{split}/{row}" for row in range(len(paths))]
