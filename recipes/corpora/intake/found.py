# SPDX-License-Identifier: Apache-2.0
"""What a source gave: the clips, and all that is not among them, with the reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.manifest_columns import SPLITS, split_meant_by

_KNOWN, _TIMES = ("label", "speaker", "split", "fold"), ("start", "end")
# Where a table or a folder is known to be about parts, these can mean nothing else; of a shard or
# a dataset called tr they could.
_SHORT_WORDS = {"tr": "train", "trn": "train", "devel": "valid", "tst": "test"}


@dataclass(frozen=True)
class LeftOut:
    """One file or row that is not in the manifest.

    Attributes:
        what: The file, or the row's name for the clip.
        reason: Why, in words that several share, so that they can be counted.
    """

    what: str
    reason: str


@dataclass
class Found:
    """What was found in a source.

    Attributes:
        clips: The clips, in the source's order.
        left_out: All that is not among them.
        notes: What the user should know, one sentence each.
        has_ids: Whether the ids come from the source, and belong into the manifest.
    """

    clips: list[Clip] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    has_ids: bool = False


def make_clip(path: Path, clip_id: str, fields: Mapping[str, str]) -> Clip:
    """Make a clip of named texts; names without a meaning in manifests become further columns.

    Args:
        path: The audio file (absolute).
        clip_id: The clip's id.
        fields: `label`, `speaker`, `split`, `fold`, `start`, `end` (seconds) and others; an empty
            text is an unknown value.

    Raises:
        ValueError: `start` or `end` is no number.
    """
    start, end = (float(fields[name]) if fields.get(name) else None for name in _TIMES)
    return Clip(
        clip_id,
        path,
        start,
        end,
        label=fields.get("label") or None,
        speaker=fields.get("speaker") or None,
        split=fields.get("split") or None,
        fold=fields.get("fold") or None,
        columns={name: text for name, text in fields.items() if name not in (*_KNOWN, *_TIMES)},
    )


def split_of_word(word: str) -> str | None:
    """Return train, valid or test for what a table or a folder calls it; None for other words."""
    folded = word.strip().casefold()
    return split_meant_by(folded) or _SHORT_WORDS.get(folded)


def normalise_splits(clips: list[Clip]) -> Iterator[str]:
    """Write splits as manifests do, in place.

    Yields:
        Each value that is no name of a part, once.
    """
    unknown: dict[str, None] = {}
    for clip in clips:
        if clip.split is not None and clip.split not in SPLITS:
            split = split_of_word(clip.split)
            if split is None:
                unknown[clip.split] = None
            clip.split = split
    yield from unknown
