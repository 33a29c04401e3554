# SPDX-License-Identifier: Apache-2.0
"""Which clips train, which select, which test: as the corpus says, or drawn without leaks."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.corpora.protocols import (
    PROTOCOLS,
    Protocol,
    default_protocol,
    distinct_folds,
    find_protocol,
    folds_of_clips,
)
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.split_checks import part_problems, part_remarks, shared_speakers
from voxadapt.recipes.corpora.split_drawing import cut_validation, draw_speakers, draw_stratified


@dataclass
class Splits:
    """The parts of a corpus, as ascending indices into its clips.

    Attributes:
        train: Clips that train.
        valid: Clips that select the best epoch.
        test: Clips that are scored once, at the end; empty only where none was needed.
        protocol: How the test part came about: `split-column`, `fold-column:K`, `session:K`,
            `speaker:K`, `speaker-disjoint-fold:K/N`, `speaker-disjoint-random`, or
            `stratified-random`; `+speaker-overlap` is added where the corpus's parts share speakers
            and that was allowed.
        protocol_name: Name and version of the protocol, as `kfold-v1`, with the same addition.
        notes: What a reader of the results should know, one sentence each.
        speaker_overlap: Whether test shares speakers with train or valid, or a validation part that
            came with the corpus with train.
    """

    train: list[int]
    valid: list[int]
    test: list[int]
    protocol: str
    protocol_name: str = ""
    notes: list[str] = field(default_factory=list)
    speaker_overlap: bool = False

    def parts(self) -> dict[str, list[int]]:
        """Return the indices by the name of the part: train, valid, test."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def fingerprint(self, clips: Sequence[Clip]) -> str:
        """Return 64 hexadecimal digits of all ids, labels and parts.

        The order of the manifest does not matter. Numbers on splits with different fingerprints
        cannot be compared.

        Args:
            clips: The clips that the split was made of.
        """
        return digest_rows(
            (clips[index].id, clips[index].label or "", part)
            for part, indices in self.parts().items()
            for index in indices
        )

    def test_fingerprint(self, clips: Sequence[Clip]) -> str:
        """Return 64 hexadecimal digits of the ids and labels of the test part alone.

        Args:
            clips: The clips that the split was made of.
        """
        return digest_rows((clips[index].id, clips[index].label or "") for index in self.test)


def digest_rows(rows: Iterable[tuple[str, ...]]) -> str:
    """Return 64 hexadecimal digits of rows of text, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def make_splits(
    clips: Sequence[Clip],
    *,
    seed: int,
    fold: str | None = None,
    protocol: str | None = None,
    fold_count: int = 5,
    fold_seed: int = 0,
    valid_fraction: float = 0.15,
    test_fraction: float = 0.2,
    allow_speaker_overlap: bool = False,
    validation: Literal["speaker", "label"] = "speaker",
    need_test: bool = True,
    need_classes: bool = True,
) -> Splits:
    """Divide a corpus into train, valid and test.

    Without `protocol`: with `fold`, that fold of the `fold` column is the test part and all others
    train. Else a `split` column is taken as it is. Else the test part is drawn: whole speakers
    where speakers are known, stratified by label where they are not.

    Whatever the protocol, where no validation part is given, one is cut from train in the same way;
    if no speaker can leave train without taking a class along, it is stratified, and a note says
    so.

    Args:
        clips: All clips, each with a label.
        seed: What drawn parts depend on, besides ids, labels and speakers; not on their order.
        fold: The fold that is tested, of a protocol that has folds: a value of the `fold` column, a
            session, a speaker, or a number from 1 to `fold_count`.
        protocol: One of `PROTOCOLS`, with or without version; None takes what the manifest says.
        fold_count: Number of folds, where the protocol draws them.
        fold_seed: What drawn folds depend on, besides speakers and labels.
        valid_fraction: Share of the clips outside of test that a cut validation part gets.
        test_fraction: Share of all clips that a drawn test part gets.
        allow_speaker_overlap: Accept parts that share speakers, and draw a stratified test part
            where a speaker-disjoint one is impossible (as where the speaker is the label).
        validation: What a validation part is cut by: whole speakers, or a share of each label,
            which is refused unless test shares speakers with train, too.
        need_test: Whether there must be a test part. Otherwise none is drawn.
        need_classes: Whether labels are classes, of which train must have two, and all that valid
            and test have. Where values are learnt, labels only say what parts should be balanced
            by.

    Raises:
        DataError: If clips lack labels, splits, folds or (only some of them) speakers; the fold
            does not exist; a part is empty; parts share speakers or audio; train has fewer than two
            classes, or none of a label in valid or test.
        ValueError: If a fraction is not between 0 and 1, or there is no such protocol.
    """
    for name, value in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; give a share between 0 and 1, such as 0.2.")
    _require_all(clips, "label", "label each, or leave those clips out")
    named = find_protocol(protocol) if protocol else default_protocol(clips, fold=fold is not None)
    if named.has_folds:
        splits = _by_fold(clips, named, fold, fold_count, fold_seed)
    elif fold is not None:
        raise DataError(
            f"fold {fold!r} was asked for, but protocol {named.name} has no folds; leave the fold "
            "out, or ask for another protocol."
        )
    elif named.name == "official":
        splits = _by_column(clips)
    else:
        fraction = test_fraction if need_test else 0
        splits = _drawn(clips, named, fraction, seed, allow_speaker_overlap, asked=bool(protocol))
    splits.protocol_name = splits.protocol_name or named.versioned
    # Before valid is cut from train: its speakers and theirs are one side against test.
    shared = shared_speakers(clips, splits.parts())
    if not splits.valid and splits.train:
        valid_seed = stable_seed(seed, "valid")
        by_label = validation == "label"
        if by_label and not shared and any(clips[index].speaker for index in splits.train):
            raise DataError(
                "a validation part cut by label was asked for, but the test part shares no speaker "
                "with train: scores on heard speakers would choose the epoch for unheard ones. "
                "Leave --validation out."
            )
        splits.train, splits.valid, how = cut_validation(
            clips, splits.train, valid_fraction, valid_seed, by_label=by_label
        )
        splits.notes.append(how)
    problems = part_problems(clips, splits.parts(), need_test=need_test, need_classes=need_classes)
    if not allow_speaker_overlap:
        problems += [f"{sentence}; {_OVERLAP_WAYS_OUT}" for sentence in shared]
    if problems:
        raise DataError("the split into train, valid and test cannot be used:", problems)
    if shared:
        splits.speaker_overlap = True
        splits.protocol += "+speaker-overlap"
        splits.protocol_name += "+speaker-overlap"
    splits.notes += [*shared, *part_remarks(clips, splits.parts())]
    return splits


_OVERLAP_WAYS_OUT = (
    "scores would not hold for speakers never heard. Divide the corpus by speaker, or accept this "
    "by --allow-speaker-overlap, and the results will say so"
)


# What `Splits.protocol` says before the fold.
_FOLD_ORIGINS = {
    "kfold": "fold-column",
    "leave-one-session-out": "session",
    "leave-one-speaker-out": "speaker",
    "speaker-disjoint-kfold": "speaker-disjoint-fold",
}


def _by_fold(
    clips: Sequence[Clip], protocol: Protocol, fold: str | None, count: int, seed: int
) -> Splits:
    found = folds_of_clips(clips, protocol, count=count, seed=seed)
    folds = distinct_folds(found)
    if fold not in folds:
        asked = "no fold was chosen" if fold is None else f"there is no fold {fold!r}"
        raise DataError(
            f"{asked} (protocol {protocol.name}); the folds are: {', '.join(folds)}"
            f"{did_you_mean(fold or '', folds)}"
        )
    test = [index for index, name in enumerate(found) if name == fold]
    train = [index for index, name in enumerate(found) if name != fold]
    both = any(clip.split for clip in clips)
    notes = ["the split column was not used, because a fold was asked for"] if both else []
    how = f"{_FOLD_ORIGINS[protocol.name]}:{fold}"
    if protocol.name == "speaker-disjoint-kfold":
        how += f"/{count}"
    return Splits(train, [], test, how, notes=notes)


def _by_column(clips: Sequence[Clip]) -> Splits:
    if not any(clip.split for clip in clips):
        raise DataError(
            "protocol official was asked for, but the manifest has no column 'split'; add it, or "
            "ask for another protocol."
        )
    _require_all(clips, "split", "give each its split, or leave those clips out")
    parts: dict[str | None, list[int]] = {"train": [], "valid": [], "test": []}
    for index, clip in enumerate(clips):
        parts[clip.split].append(index)
    return Splits(parts["train"], parts["valid"], parts["test"], "split-column")


def _drawn(
    clips: Sequence[Clip],
    protocol: Protocol,
    test_fraction: float,
    seed: int,
    allow_speaker_overlap: bool,
    *,
    asked: bool,
) -> Splits:
    everyone = list(range(len(clips)))
    by_speaker = protocol.name == "speaker-disjoint-random"
    notes = []
    if by_speaker:
        _require_all(
            clips, "speaker", "name each one's, or leave out the column if speakers are unknown"
        )
    if asked and any(clip.split for clip in clips):
        notes.append("the split column was not used, because another protocol was asked for")
    if not asked and any(clip.fold for clip in clips):
        notes.append("the fold column was not used; --fold all tests each of its folds")
    if not test_fraction:
        return Splits(everyone, [], [], protocol.name, notes=notes)
    test_seed = stable_seed(seed, "test")
    test = draw_speakers(clips, everyone, test_fraction, test_seed) if by_speaker else None
    if by_speaker and test is None:
        if asked or not allow_speaker_overlap:
            stratified = "--protocol stratified-random and " if asked else ""
            raise DataError(
                "no speaker-disjoint test part can be drawn: each speaker is the only one of some "
                "label. Give clips of more speakers; or, if speakers are what is to be recognised, "
                f"take shared speakers by {stratified}--allow-speaker-overlap, and the results "
                "will say so."
            )
        protocol = PROTOCOLS["stratified-random"]
    if test is None:
        test = draw_stratified(clips, everyone, test_fraction, test_seed)
    tested = set(test)
    train = [index for index in everyone if index not in tested]
    return Splits(train, [], test, protocol.name, protocol.versioned, notes)


def _require_all(clips: Sequence[Clip], column: str, way_out: str) -> None:
    without = [clip.id for clip in clips if not getattr(clip, column)]
    if without:
        raise DataError(
            f"{len(without):,} of {len(clips):,} clips have no {column}: {some_of(without)}; "
            f"{way_out}."
        )
