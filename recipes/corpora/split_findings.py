# SPDX-License-Identifier: Apache-2.0
"""What the parts of a corpus share and lack: speakers, texts, labels."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.label_findings import variant_spellings
from voxadapt.recipes.corpora.manifest_columns import SPLITS
from voxadapt.recipes.corpora.shared_audio import HEARD
from voxadapt.recipes.corpora.split_checks import shared_audio, shared_speakers

TEXT_COLUMNS = ("text", "transcript", "transcription", "sentence", "utterance", "prompt", "word")
"""Columns that are taken for what is said, the first that is there."""

_SCRIPTED = 3  # clips a text, on average, from which on everybody reads the same sentences
_MOST_SPEAKERS = 20_000


def split_findings(
    clips: Sequence[Clip], *, allow_speaker_overlap: bool = False, text_column: str | None = None
) -> Iterator[Finding]:
    """Yield what makes scores on these parts say less than they seem to.

    Args:
        clips: All clips of the corpus.
        allow_speaker_overlap: Whether shared speakers are a note and no error.
        text_column: The column that tells what is said; None takes one of `TEXT_COLUMNS`.
    """
    yield from _speakers(clips)
    for name, parts in _divisions(clips).items():
        shared = [] if len(parts) < 2 else shared_speakers(clips, parts)
        for sentence in shared:
            yield Finding(
                "note" if allow_speaker_overlap else "error",
                "speaker overlap",
                f"column {name}: {sentence}",
                "divide the corpus by speaker: scores would not hold for speakers never heard; or "
                "accept it by --allow-speaker-overlap",
            )
        yield from _audio(clips, parts, name)
        yield from _texts(clips, parts, name, text_column)
    yield from _labels(clips)


def _divisions(clips: Sequence[Clip]) -> dict[str, dict[str, list[int]]]:
    """Indices of the clips by part, for each column that divides the corpus."""
    divisions: dict[str, dict[str, list[int]]] = {}
    for column in ("split", "fold"):
        parts: dict[str, list[int]] = {}
        for index, clip in enumerate(clips):
            if getattr(clip, column):
                parts.setdefault(str(getattr(clip, column)), []).append(index)
        if column == "split":
            parts = {name: parts[name] for name in SPLITS if name in parts}
        if parts:
            divisions[column] = parts
    return divisions


def _speakers(clips: Sequence[Clip]) -> Iterator[Finding]:
    counts = Counter(clip.speaker for clip in clips if clip.speaker)
    unknown = len(clips) - counts.total()
    if counts and unknown:
        without = [clip.id for clip in clips if not clip.speaker]
        yield Finding(
            "warning",
            "no speaker",
            f"{unknown:,} of {len(clips):,} clips have no speaker: {some_of(without)}",
            "name each one's; a split by speaker cannot be drawn else",
        )
    if len(counts) <= _MOST_SPEAKERS:
        for _, one, other in variant_spellings(list(counts)):
            yield Finding(
                "warning",
                "speaker spelling",
                f"speakers {one!r} ({counts[one]:,} clips) and {other!r} ({counts[other]:,}) "
                "differ only in how they are written",
                "write them the same if they are one: a split by speaker would part them",
            )


def _audio(
    clips: Sequence[Clip], parts: Mapping[str, Sequence[int]], name: str
) -> Iterator[Finding]:
    """Segments of a file in one part that overlap in time with segments in another."""
    for one, other, shares in shared_audio(clips, parts):
        most = max(shares.values())
        yield Finding(
            "error" if most >= HEARD else "warning",
            "audio overlap",
            f"column {name}: {len(shares):,} of the {len(parts[other]):,} clips of {other} are in "
            f"part the same stretch of a file as clips of {one}, by up to {most:.0%} of their "
            f"length: {some_of(sorted(clips[index].id for index in shares))}",
            "cut the segments so that they do not overlap, or give all of a file the same part",
        )


def _texts(
    clips: Sequence[Clip], parts: Mapping[str, Sequence[int]], name: str, column: str | None
) -> Iterator[Finding]:
    columns = {key for clip in clips[:1_000] for key in clip.columns}
    column = column or next((text for text in TEXT_COLUMNS if text in columns), None)
    if column is None:
        return
    texts = [_words(clip.columns.get(column, "")) for clip in clips]
    distinct = {text for text in texts if text}
    scripted = len(distinct) * _SCRIPTED < sum(map(bool, texts))
    of_part = {part: {texts[index] for index in rows} - {""} for part, rows in parts.items()}
    for one, other in combinations(parts, 2):
        shared = of_part[one] & of_part[other]
        if not shared:
            continue
        examples = [clips[index].id for index in parts[other] if texts[index] in shared]
        yield Finding(
            "note" if scripted else "warning",
            "text twins",
            f"column {name}: {len(shared):,} of the {len(of_part[other]):,} texts of {other} are "
            f"also in {one} ({column}; in {other}: {some_of(examples)})",
            "the corpus is scripted, so this cannot be helped; a model may still learn the words"
            if scripted
            else "move clips with the same text to one part: a model could learn the words",
        )


def _words(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded))


def _labels(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Labels that a part of the `split` column lacks."""
    labels = {
        split: Counter(clip.label for clip in clips if clip.split == split and clip.label)
        for split in SPLITS
    }
    if not labels["train"]:
        return
    for split in ("valid", "test"):
        unlearnt = {label: n for label, n in labels[split].items() if label not in labels["train"]}
        for label, count in unlearnt.items():
            yield Finding(
                "error",
                "label never in train",
                f"label {label!r} is in {split} ({count:,} clips) and never in train",
                "correct the label, or leave its clips out, or move some to train",
            )
        missing = sorted(str(label) for label in labels["train"].keys() - labels[split].keys())
        if labels[split] and missing:
            yield Finding(
                "warning",
                "label never scored",
                f"{split} has no clip of {some_of(missing)}",
                "move some there, or scores say nothing of these classes",
            )
