# SPDX-License-Identifier: Apache-2.0
"""The lists of EmoBox (arXiv 2406.07162): which utterances there are, and which part has which.

A corpus is a folder with one list of all its utterances (`NAME.jsonl`, `NAME.json`) and, for each
fold, a folder with a list for each part (`fold_1/NAME_train_fold_1.jsonl`). The lists come in
several dialects, and some twice.
"""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.corpora.natural_order import natural_key

LABEL_MAPS = ("label_map.json", "label_dict.json")

_PATHS, _LABELS = ("wav", "audio"), ("emo", "label")


@dataclass(frozen=True)
class Utterance:
    """An utterance of a list.

    Attributes:
        key: Its id.
        path: Where its recording is, as the list has it: `downloads/NAME/...`.
        label: As it stands in the list.
        start: Where it begins in the recording (seconds); None is the beginning.
        end: Where it ends; None is the end.
    """

    key: str
    path: str
    label: str
    start: float | None = None
    end: float | None = None


@dataclass
class EmoboxLists:
    """All that the lists of a corpus say.

    Attributes:
        name: The corpus, as EmoBox calls it.
        utterances: By key, in order of appearance.
        whole: Keys of the list of all utterances; empty where there is no such list.
        folds: Keys by fold and part (`train`, `valid`, `test`, and others).
        label_map: As published.
        notes: What is odd about the lists, one sentence each.
    """

    name: str
    utterances: dict[str, Utterance] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)
    folds: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    label_map: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def corpus_folder(root: Path, name: str) -> Path:
    """Find a corpus's folder in a copy of EmoBox's repository, of its `data`, or the folder itself.

    Raises:
        DataError: It is not there.
    """
    plain = re.sub(r"[\W_]+", "", name).casefold()
    for folder in (root / "data", root):
        if folder.is_dir():
            names = {entry.name for entry in folder.iterdir() if entry.is_dir()}
            if plain in names:
                return folder / plain
    if root.name == plain and root.is_dir():
        return root
    folder = root / "data" if (root / "data").is_dir() else root
    corpora = (
        sorted(entry.parent.name for entry in folder.glob("*/fold_*")) if root.is_dir() else []
    )
    corpora = list(dict.fromkeys(corpora))
    hint = did_you_mean(plain, corpora) or "."
    holds = f"it has {', '.join(corpora)}" if corpora else "it holds no such lists"
    if not root.is_dir():
        holds = "there is no such folder"
    raise DataError(
        f"--emobox {root}: there are no lists of {name!r}; {holds}{hint} "
        "Give a copy of the repository emo-box/EmoBox, or of its folder data."
    )


def read_lists(folder: Path) -> EmoboxLists:
    """Read all lists of a corpus.

    Args:
        folder: Its folder.

    Raises:
        DataError: A list cannot be read, or there is none for any fold.
    """
    name = folder.name
    lists = EmoboxLists(name)
    for file in LABEL_MAPS:
        if (folder / file).is_file():
            content = _load(folder / file)
            lists.label_map = {str(label): str(target) for label, target in content.items()}
            break
    for ending in (".jsonl", ".json"):
        path = folder / f"{name}{ending}"
        if path.is_file():
            keys = _take(lists, path)
            _compare(lists, lists.whole, keys, path)
            lists.whole = lists.whole or keys
    for fold in sorted(folder.glob("fold_*"), key=lambda path: natural_key(path.name)):
        _read_fold(lists, fold)
    if not lists.folds:
        raise DataError(f"{folder} has no fold lists, so there is no published split of {name}.")
    return lists


def _read_fold(lists: EmoboxLists, folder: Path) -> None:
    number = folder.name.removeprefix("fold_")
    pattern = re.compile(rf"{re.escape(lists.name)}_([a-z]+\d*)_fold_?{re.escape(number)}\.jsonl?")
    parts: dict[str, list[str]] = {}
    # `_fold_1` before `_fold1`, and .jsonl before .json: where both are there, the first counts.
    files = sorted(
        folder.iterdir(),
        key=lambda path: (path.suffix != ".jsonl", "_fold_" not in path.name, path.name),
    )
    for path in files:
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        keys = _take(lists, path)
        _compare(lists, parts.get(match[1], []), keys, path)
        parts.setdefault(match[1], keys)
    if parts:
        lists.folds[number] = parts


def _compare(lists: EmoboxLists, first: list[str], second: list[str], path: Path) -> None:
    """Note where two lists of one thing differ."""
    differ = sorted(set(first) ^ set(second))
    if first and differ:
        lists.notes.append(
            f"{path.parent.name}/{path.name} and its twin differ in {len(differ):,} utterances: "
            f"{some_of(differ, 3)}; the twin counts"
        )


def _take(lists: EmoboxLists, path: Path) -> list[str]:
    """Read a list into `lists.utterances`; returns its keys."""
    keys = []
    for key, entry in _entries(path):
        utterance = _utterance(key, entry, path)
        known = lists.utterances.setdefault(key, utterance)
        if known.label.casefold() != utterance.label.casefold() or known.path != utterance.path:
            lists.notes.append(
                f"{path.name} says of {key} {utterance.label!r} and {utterance.path!r}, another "
                f"list {known.label!r} and {known.path!r}; the other counts"
            )
        keys.append(key)
    twice = len(keys) - len(set(keys))
    if twice:
        lists.notes.append(f"{path.name} lists {twice:,} utterances twice; each counts once")
    return list(dict.fromkeys(keys))


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Keys and entries of a list in either form."""
    if path.suffix == ".json":
        return list(_load(path).items())
    entries = []
    number = 0
    try:
        # Not `splitlines`, for which some characters inside of a text end a line too.
        for line in path.read_text(encoding="utf-8").split("\n"):
            number += 1
            if line.strip():
                entry = json.loads(line)
                entries.append((str(entry["key"]), entry))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}, line {number}, cannot be read ({error!r}).") from error
    return entries


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object of entries by id.")
    return content


def _utterance(key: str, entry: dict[str, Any], path: Path) -> Utterance:
    audio = next((entry[name] for name in _PATHS if name in entry), None)
    label = next((entry[name] for name in _LABELS if name in entry), None)
    if not isinstance(audio, str) or label is None:
        raise DataError(
            f"{path}: the entry {key!r} has no recording ({' or '.join(_PATHS)}) or no label "
            f"({' or '.join(_LABELS)}); it holds {', '.join(entry)}."
        )
    start, end = (entry.get(name) for name in ("start_time", "end_time"))
    times = [
        float(time) if time is not None and math.isfinite(time) else None for time in (start, end)
    ]
    return Utterance(str(key), audio, str(label), times[0], times[1])
