# SPDX-License-Identifier: Apache-2.0
"""Protocols: named, versioned ways to divide a corpus into what trains and what is tested.

A name with its version stands for one and the same division, today and after an upgrade: a protocol
that has to change gets a new version, and the old one can still be asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.corpora.fold_balancing import balance_speaker_folds
from voxadapt.recipes.corpora.natural_order import natural_key
from voxadapt.recipes.corpora.split_drawing import draw_speaker_folds


@dataclass(frozen=True)
class Protocol:
    """A way to divide a corpus.

    Attributes:
        name: Its name, without the version.
        text: What it does, for a user.
        has_folds: Whether it is a number of divisions, one for each fold.
        version: Raised when the same corpus and seed would be divided otherwise.
    """

    name: str
    text: str
    has_folds: bool = False
    version: int = 1

    @property
    def versioned(self) -> str:
        """The name with the version, as it stands in results."""
        return f"{self.name}-v{self.version}"


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("official", "the parts of the `split` column"),
        Protocol("kfold", "each fold of the `fold` column is tested once", has_folds=True),
        Protocol(
            "leave-one-session-out",
            "each value of the `session` column is tested once",
            has_folds=True,
        ),
        Protocol("leave-one-speaker-out", "each speaker is tested once", has_folds=True),
        Protocol(
            "speaker-disjoint-kfold",
            "speakers are drawn into folds, each is tested once",
            has_folds=True,
        ),
        Protocol("speaker-disjoint-random", "a fifth of the speakers is drawn and tested"),
        Protocol("stratified-random", "a fifth of each label's clips is drawn and tested"),
    )
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of a name, with or without its version.

    Raises:
        ValueError: There is none of that name, or not in that version.
    """
    plain, _, version = name.rpartition("-v")
    if not (plain and version.isdigit()):
        plain, version = name, ""
    protocol = PROTOCOLS.get(plain)
    if protocol is None:
        raise ValueError(
            f"found {name!r}, must be one of {', '.join(PROTOCOLS)}{did_you_mean(name, PROTOCOLS)}"
        )
    if version not in ("", str(protocol.version)):
        raise ValueError(f"found {name!r}; of {plain} there is {protocol.versioned} only")
    return protocol


def default_protocol(clips: Sequence[Clip], *, fold: bool) -> Protocol:
    """Return the protocol that the manifest itself speaks for.

    Args:
        clips: All clips.
        fold: Whether a fold is asked for.
    """
    if fold:
        return PROTOCOLS["kfold"]
    if any(clip.split for clip in clips):
        return PROTOCOLS["official"]
    known = any(clip.speaker for clip in clips)
    return PROTOCOLS["speaker-disjoint-random" if known else "stratified-random"]


def folds_of_clips(
    clips: Sequence[Clip], protocol: Protocol, *, count: int = 5, seed: int = 0
) -> list[str]:
    """Return the fold of each clip.

    Args:
        clips: All clips, each with a label.
        protocol: One that has folds.
        count: How many folds are drawn, where the protocol draws them.
        seed: What drawn folds depend on, besides speakers and labels.

    Raises:
        DataError: Clips have no fold, session or speaker, or all have the same, or there are fewer
            speakers than folds to draw.
    """
    if protocol.name == "speaker-disjoint-kfold":
        return _drawn_folds(clips, count, seed)
    column = {"kfold": "fold", "leave-one-session-out": "session"}.get(protocol.name, "speaker")
    values = [
        (clip.columns.get(column) if column == "session" else getattr(clip, column)) or ""
        for clip in clips
    ]
    _require_column(clips, values, column, protocol)
    if len(set(values)) == 1:
        raise DataError(
            f"the column {column!r} holds {values[0]!r} for every clip, so that nothing would be "
            f"left to train on; protocol {protocol.name} needs two or more of them."
        )
    return values


def distinct_folds(folds: Sequence[str]) -> list[str]:
    """Return the folds that occur, in natural order: 10 after 2."""
    return sorted(set(folds), key=natural_key)


def _drawn_folds(clips: Sequence[Clip], count: int, seed: int) -> list[str]:
    speakers = [clip.speaker or "" for clip in clips]
    _require_column(clips, speakers, "speaker", PROTOCOLS["speaker-disjoint-kfold"])
    found = len(set(speakers))
    if found < count:
        raise DataError(
            f"{count} folds were asked for, but there are only {found} speakers; ask for at most "
            f"{found} folds by --num-folds, or test each speaker by --protocol "
            "leave-one-speaker-out."
        )
    folds = balance_speaker_folds(clips, draw_speaker_folds(clips, count, seed))
    return [str(1 + fold) for fold in folds]


def _require_column(
    clips: Sequence[Clip], values: Sequence[str], column: str, protocol: Protocol
) -> None:
    without = [clip.id for clip, value in zip(clips, values, strict=True) if not value]
    if len(without) == len(clips):
        raise DataError(
            f"protocol {protocol.name} was asked for, but the manifest has no column {column!r}; "
            "add it, or ask for another --protocol."
        )
    if without:
        raise DataError(
            f"{len(without):,} of {len(clips):,} clips have no {column}: {some_of(without)}; give "
            "each its own, or leave those clips out."
        )
