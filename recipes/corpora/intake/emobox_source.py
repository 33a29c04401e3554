# SPDX-License-Identifier: Apache-2.0
"""Clips of EmoBox's corpora: its utterances, with the audio found and the speakers recovered."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, some_of
from voxadapt.recipes.corpora.intake.audio_lookup import AudioLookup
from voxadapt.recipes.corpora.intake.audio_tree import (
    FOREIGN_EXTENSIONS,
    conversion_command,
    list_tree,
)
from voxadapt.recipes.corpora.intake.description import (
    CorpusDescription,
    known_names,
    load_description,
    plain_name,
)
from voxadapt.recipes.corpora.intake.emobox_lists import EmoboxLists, Utterance
from voxadapt.recipes.corpora.intake.emobox_slips import (
    LABEL_FIXES,
    ONE_SPEAKER,
    SPEAKER_PATTERNS,
)
from voxadapt.recipes.corpora.intake.found import Found, LeftOut, make_clip
from voxadapt.recipes.corpora.intake.known_corpus import fill_columns, match_name
from voxadapt.recipes.corpora.intake.name_pattern import NamePattern
from voxadapt.recipes.corpora.intake.table_source import NO_AUDIO

IN_NO_LIST = "it is in no list of the published split"


def audio_folder(root: Path, name: str, given: Path | None) -> Path:
    """The folder that stands for `downloads/NAME` of the lists.

    Args:
        root: The copy of EmoBox.
        name: The corpus, as EmoBox calls it.
        given: A folder that the user names: that one, or one that holds it.

    Raises:
        DataError: There is none.
    """
    bases = [given] if given is not None else [root, root.parent]
    folders = [base / "downloads" / name for base in bases] + [base / name for base in bases]
    if given is not None:
        folders.append(given)
    else:
        folders = [folder for folder in folders if folder.parent.name == "downloads"]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise DataError(
        f"--emobox {root}: the audio of {name} is not in {root / 'downloads' / name}; name the "
        "folder of the corpus in front: voxadapt init-data FOLDER --emobox DIR --corpus NAME."
    )


def find_emobox(lists: EmoboxLists, audio: Path) -> Found:
    """Turn the utterances of a corpus into clips; none is lost in silence.

    Args:
        lists: What EmoBox says of the corpus.
        audio: The folder that stands for `downloads/NAME`.

    Raises:
        DataError: Labels are in no map, or no recording is there.
    """
    class_of, wrong = _label_classes(lists)
    found = Found(notes=list(lists.notes), has_ids=True)
    listed = {key for parts in lists.folds.values() for keys in parts.values() for key in keys}
    derived = any("train" not in parts for parts in lists.folds.values())
    finder = _Finder(lists.name, audio)
    for utterance in lists.utterances.values():
        if utterance.label in wrong:
            found.left_out.append(LeftOut(utterance.key, wrong[utterance.label]))
        elif utterance.key not in listed and not derived:
            found.left_out.append(LeftOut(utterance.key, IN_NO_LIST))
        else:
            clip = finder.find(utterance, class_of[utterance.label])
            if clip is None:
                found.left_out.append(LeftOut(utterance.key, NO_AUDIO))
            else:
                found.clips.append(clip)
    if not found.clips:
        raise DataError(_nothing_there(lists, audio))
    for names, how in (
        (finder.lookup.by_ending, "under another ending than EmoBox's"),
        (finder.lookup.by_tail, "elsewhere below the folder, by the last parts of the path"),
        (finder.by_id, "by what the names mean, in another layout than EmoBox's"),
    ):
        if names:
            found.notes.append(f"{len(names):,} recordings were found {how}: {some_of(names, 2)}")
    unknown = sum(clip.speaker is None for clip in found.clips)
    if unknown:
        found.notes.append(f"the speakers of {unknown:,} clips are not told by EmoBox's paths")
    return found


class _Finder:
    """Makes clips of utterances: finds the audio, and what the path tells of the speaker."""

    def __init__(self, name: str, audio: Path) -> None:
        self.lookup = AudioLookup(audio)
        self.by_id: list[str] = []
        self._name = name
        self._audio = audio
        known = {plain_name(corpus): corpus for corpus in known_names()}
        self._description = load_description(known[name]) if name in known else None
        pattern = SPEAKER_PATTERNS.get(name)
        self._speaker = NamePattern(pattern, audio=False) if pattern else None
        self._files: dict[str, str] | None = None

    def find(self, utterance: Utterance, label: str) -> Clip | None:
        """Return the clip of an utterance; None where its recording is not there."""
        name = utterance.path.removeprefix(f"downloads/{self._name}/")
        path = self.lookup.find(name) or self._find_by_id(name)
        if path is None:
            return None
        fields = {**self._told(name), "label": label, "raw_label": utterance.label}
        clip = make_clip(path, utterance.key, fields)
        clip.start, clip.end = utterance.start, utterance.end
        return clip

    def _told(self, name: str) -> dict[str, str]:
        """What a path tells: the speaker, and what the corpus's description makes of it."""
        if self._name in ONE_SPEAKER:
            return {"speaker": self._name}
        if self._speaker is not None:
            return self._speaker.match(name) or {}
        if self._description is None:
            return {}
        fields = match_name(self._description, _as_audio(name))
        columns = fill_columns(self._description, fields) if fields else {}
        return {key: text for key, text in columns.items() if key not in ("label", "split", "fold")}

    def _find_by_id(self, name: str) -> Path | None:
        """Find the file that means the same clip by the corpus's description, in any layout."""
        if self._description is None:
            return None
        if self._files is None:
            self._files = _files_by_id(self._description, list_tree(self._audio).audio)
        fields = match_name(self._description, _as_audio(name))
        found = self._files.get(self._description.id.format_map(fields)) if fields else None
        if found is None:
            return None
        self.by_id.append(name)
        return self._audio / found


def _files_by_id(description: CorpusDescription, names: list[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for name in names:
        fields = match_name(description, name)
        if fields is not None:
            files.setdefault(description.id.format_map(fields), name)
    return files


def _as_audio(name: str) -> str:
    return str(Path(name).with_suffix(".wav").as_posix())


def _label_classes(lists: EmoboxLists) -> tuple[dict[str, str], dict[str, str]]:
    """The class of each label, and the reasons of those whose utterances are left out.

    Raises:
        DataError: A label is in no map.
    """
    counts = Counter(utterance.label for utterance in lists.utterances.values())
    fixes = {fix.label: fix for fix in LABEL_FIXES if fix.corpus == lists.name}
    targets: Mapping[str, str] = {
        **lists.label_map,
        **{label: fix.target for label, fix in fixes.items()},
    }
    missing = [label for label in counts if label not in targets]
    if missing:
        raise DataError(
            f"EmoBox's label map of {lists.name} says nothing about some labels:",
            [f"{label!r} ({counts[label]:,} utterances)" for label in sorted(missing)],
        )
    # In lower case, as the descriptions of known corpora call them.
    class_of = {label: targets[label].casefold() for label in counts if targets[label]}
    return class_of, {label: fixes[label].reason for label in counts if not targets[label]}


def _nothing_there(lists: EmoboxLists, audio: Path) -> str:
    paths = [utterance.path for utterance in lists.utterances.values()]
    message = (
        f"none of the {len(paths):,} recordings of {lists.name} is in {audio}; EmoBox's list has "
        f"{some_of(paths, 2)}, and {audio} stands for downloads/{lists.name}."
    )
    tree = list_tree(audio)
    if tree.foreign and paths[0].lower().endswith(FOREIGN_EXTENSIONS):
        message += (
            f" These are not read here; convert them first, as by\n  {conversion_command(tree)}"
        )
    return message
