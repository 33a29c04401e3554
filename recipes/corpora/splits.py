# SPDX-License-Identifier: Apache-2.0
"""Which clips train, which select, which test: as the corpus says, or drawn without leaks."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.split_checks import part_problems, shared_speakers
from voxadapt.recipes.corpora.split_drawing import draw_speakers, draw_stratified


@dataclass
class Splits:
    """The parts of a corpus, as ascending indices into its clips.

    Attributes:
        train: Clips that train.
        valid: Clips that select the best epoch.
        test: Clips that are scored once, at the end; empty only where none was needed.
        protocol: `split-column`, `fold-column:K`, `speaker-disjoint-random`, or `stratified-random`
            where speakers are unknown; `+speaker-overlap` is added where the corpus's parts share
            speakers and that was allowed.
        notes: What a reader of the results should know, one sentence each.
        speaker_overlap: Whether test shares speakers with train or valid, or a validation part that
            came with the corpus with train.
    """

    train: list[int]
    valid: list[int]
    test: list[int]
    protocol: str
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
        rows = sorted(
            (clips[index].id, clips[index].label or "", part)
            for part, indices in self.parts().items()
            for index in indices
        )
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def make_splits(
    clips: Sequence[Clip],
    *,
    seed: int,
    fold: str | None = None,
    valid_fraction: float = 0.15,
    test_fraction: float = 0.2,
    allow_speaker_overlap: bool = False,
    need_test: bool = True,
) -> Splits:
    """Divide a corpus into train, valid and test.

    With `fold`, that fold is the test part and all others train. Else a `split` column is taken as
    it is. Else the test part is drawn: whole speakers where speakers are known, stratified by label
    where they are not. Where no validation part is given, one is cut from train in the same way; if
    no speaker can leave train without taking a class along, it is stratified, and a note says so.

    Args:
        clips: All clips, each with a label.
        seed: What drawn parts depend on, besides ids, labels and speakers; not on their order.
        fold: The value of the `fold` column that is tested.
        valid_fraction: Share of the clips outside of test that a cut validation part gets.
        test_fraction: Share of all clips that a drawn test part gets.
        allow_speaker_overlap: Accept parts that share speakers, and draw a stratified test part
            where a speaker-disjoint one is impossible (as where the speaker is the label).
        need_test: Whether there must be a test part. Otherwise none is drawn.

    Raises:
        DataError: If clips lack labels, splits, folds or (only some of them) speakers; the fold
            does not exist; a part is empty; parts share speakers or audio; train has fewer than two
            classes, or none of a label in valid or test.
        ValueError: If a fraction is not between 0 and 1.
    """
    for name, value in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; give a share between 0 and 1, such as 0.2.")
    _require_all(clips, "label", "label each, or leave those clips out")
    if fold is not None:
        splits = _by_fold(clips, str(fold))
    elif any(clip.split for clip in clips):
        splits = _by_column(clips)
    else:
        splits = _drawn(clips, test_fraction if need_test else 0, seed, allow_speaker_overlap)
    # Before valid is cut from train: its speakers and theirs are one side against test.
    shared = shared_speakers(clips, splits.parts())
    if not splits.valid:
        _cut_validation(clips, splits, valid_fraction, seed)
    problems = part_problems(clips, splits.parts(), need_test=need_test)
    if not allow_speaker_overlap:
        problems += [f"{sentence}; {_OVERLAP_WAYS_OUT}" for sentence in shared]
    if problems:
        raise DataError("the split into train, valid and test cannot be used:", problems)
    if shared:
        splits.speaker_overlap = True
        splits.protocol += "+speaker-overlap"
    splits.notes += [*shared, *_remarks(clips, splits)]
    return splits


_OVERLAP_WAYS_OUT = (
    "scores would not hold for speakers never heard. Divide the corpus by speaker, or accept this "
    "by --allow-speaker-overlap, and the results will say so"
)


def _by_fold(clips: Sequence[Clip], fold: str) -> Splits:
    folds = sorted({clip.fold for clip in clips if clip.fold is not None})
    if not folds:
        raise DataError(f"fold {fold!r} was asked for, but the manifest has no column 'fold'.")
    if fold not in folds:
        raise DataError(
            f"there is no fold {fold!r}; the folds are: {', '.join(folds)}"
            f"{did_you_mean(fold, folds)}"
        )
    _require_all(clips, "fold", "give each its fold, or leave those clips out")
    test = [index for index, clip in enumerate(clips) if clip.fold == fold]
    train = [index for index, clip in enumerate(clips) if clip.fold != fold]
    both = any(clip.split for clip in clips)
    notes = ["the split column was not used, because a fold was asked for"] if both else []
    return Splits(train, [], test, f"fold-column:{fold}", notes)


def _by_column(clips: Sequence[Clip]) -> Splits:
    _require_all(clips, "split", "give each its split, or leave those clips out")
    parts: dict[str | None, list[int]] = {"train": [], "valid": [], "test": []}
    for index, clip in enumerate(clips):
        parts[clip.split].append(index)
    return Splits(parts["train"], parts["valid"], parts["test"], "split-column")


def _drawn(
    clips: Sequence[Clip], test_fraction: float, seed: int, allow_speaker_overlap: bool
) -> Splits:
    everyone = list(range(len(clips)))
    known = any(clip.speaker for clip in clips)
    if known:
        _require_all(
            clips, "speaker", "name each one's, or leave out the column if speakers are unknown"
        )
    protocol = "speaker-disjoint-random" if known else "stratified-random"
    if not test_fraction:
        return Splits(everyone, [], [], protocol)
    test_seed = stable_seed(seed, "test")
    test = draw_speakers(clips, everyone, test_fraction, test_seed) if known else None
    if known and test is None:
        if not allow_speaker_overlap:
            raise DataError(
                "no speaker-disjoint test part can be drawn: each speaker is the only one of some "
                "label. Give clips of more speakers; or, if speakers are what is to be recognised, "
                "take shared speakers by --allow-speaker-overlap, and the results will say so."
            )
        protocol = "stratified-random"
    if test is None:
        test = draw_stratified(clips, everyone, test_fraction, test_seed)
    tested = set(test)
    return Splits([index for index in everyone if index not in tested], [], test, protocol)


def _cut_validation(clips: Sequence[Clip], splits: Splits, fraction: float, seed: int) -> None:
    """Move a part of train to valid."""
    if not splits.train:
        return
    valid_seed = stable_seed(seed, "valid")
    valid = None
    how = "stratified by label, since not all speakers of train are known"
    if all(clips[index].speaker for index in splits.train):
        valid = draw_speakers(clips, splits.train, fraction, valid_seed)
        how = "speaker-disjoint"
        if valid is None:
            how = (
                "stratified by label, so it shares speakers with train: each speaker of train is "
                "the only one of some label there"
            )
    splits.valid = valid or draw_stratified(clips, splits.train, fraction, valid_seed)
    cut = set(splits.valid)
    splits.train = [index for index in splits.train if index not in cut]
    splits.notes.append(f"valid was cut from train: {how}")


def _require_all(clips: Sequence[Clip], column: str, way_out: str) -> None:
    without = [clip.id for clip in clips if not getattr(clip, column)]
    if without:
        raise DataError(
            f"{len(without):,} of {len(clips):,} clips have no {column}: {some_of(without)}; "
            f"{way_out}."
        )


def _remarks(clips: Sequence[Clip], splits: Splits) -> list[str]:
    unknown = sum(clip.speaker is None for clip in clips)
    remarks = []
    if unknown:
        who = "no speaker is" if unknown == len(clips) else f"{unknown:,} clips' speakers are not"
        remarks.append(f"{who} known, so shared speakers cannot be ruled out")
    labels = {clips[index].label for index in splits.train}
    for name in ("valid", "test"):
        part = splits.parts()[name]
        missing = sorted(str(label) for label in labels - {clips[index].label for index in part})
        if part and missing:
            remarks.append(f"{name} has no clip of {some_of(missing)}")
    return remarks
