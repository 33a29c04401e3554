# SPDX-License-Identifier: Apache-2.0
"""What corpora are called in results, and which part of one is scored."""

from collections.abc import Sequence
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.corpus_places import corpus_places


def choose_split(clips: list[Clip], split: str, source: str, flag: str) -> list[Clip]:
    """The clips of one part.

    Args:
        clips: The clips.
        split: The part, or ``all``.
        source: The corpus, for messages.
        flag: The option that names the part, for messages.

    Raises:
        UsageError: There is none.
    """
    chosen = [clip for clip in clips if split in ("all", clip.split)]
    if not chosen:
        found = sorted({clip.split for clip in clips if clip.split})
        holds = f"its `split` column holds {found}" if found else "it has no `split` column"
        # What --test-split is of was refused where it was trained on.
        heard = ", those that were trained on among them" if flag == "--split" else ""
        raise UsageError(
            f"{flag} {split}: no clip of {source} is in it; {holds}. `{flag} all` scores every clip"
            f"{heard}"
        )
    return chosen


def corpus_names(options: FinetuneOptions) -> tuple[list[str], list[str]]:
    """Names of ``--data`` and of ``--test-data``.

    Raises:
        UsageError: A corpus is named twice.
    """
    names = name_corpora([*options.data, *options.test_data])
    return names[: len(options.data)], names[len(options.data) :]


def name_corpora(sources: Sequence[str]) -> list[str]:
    """Names of corpora, each of them once.

    Those of the same file name bear their folder's too, and the one's above it, as far up as it
    takes to tell them apart.

    Raises:
        UsageError: One is named twice.
    """
    places = corpus_places(sources)
    names = [place.stem for place in places]
    for parents in range(1, max((len(place.parts) for place in places), default=0) + 1):
        if len(set(names)) == len(names):
            break
        names = [
            name if names.count(name) == 1 else _longer_name(place, parents)
            for name, place in zip(names, places, strict=True)
        ]
    return names


def _longer_name(place: Path, parents: int) -> str:
    """A name with so many folders before it; where there are no more, the ending tells apart."""
    above = place.relative_to(place.anchor).parts[:-1]
    return "-".join([*above[-parents:], place.stem if parents <= len(above) else place.name])
