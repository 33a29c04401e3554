# SPDX-License-Identifier: Apache-2.0
"""Clips that a model is scored on and was trained on: what the run's ``splits.json`` tells."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_keys
from voxadapt.recipes.corpora.demo_corpus import MANIFEST
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import is_container, read_manifest
from voxadapt.recipes.corpora.shared_audio import HEARD, heard_shares
from voxadapt.recipes.finetuning.label_columns import first_column
from voxadapt.recipes.running.options import DEMO_CORPUS
from voxadapt.recipes.running.run_folder import read_record
from voxadapt.recipes.scoring.run_reading import read_parts, run_of_model

logger = logging.getLogger(__name__)

PARTS = ("train", "valid")
"""The parts that a model comes from; of the two, a clip counts for the first."""


def count_heard(
    run: str, sources: Sequence[str], everyone: Sequence[Clip], scored: Sequence[Clip]
) -> dict[str, Any] | None:
    """Count the scored clips that the model was trained on, or that chose its epoch.

    Clips are compared by file and time, and those of equal ids by the content of their files:
    another corpus may have the same ids. Where the data of the run cannot be read any more, or is a
    container, ids are all there is.

    Args:
        run: The folder of the run or of its model, or a hub id.
        sources: What is scored, as the user names it.
        everyone: All clips of it.
        scored: Those that were scored.

    Returns:
        How many clips of ``train`` and of ``valid`` were scored, and whether that is ``known_by``
        ``audio`` or ``ids``; None where no run stands around the model.
    """
    folder = run_of_model(run)
    if folder is None:
        return None
    splits = read_parts(folder)
    if splits is None:
        return None
    # Of several manifests, ids begin with the manifest's number.
    names = [clip.id.partition(":")[2] if len(sources) > 1 else clip.id for clip in scored]
    known = _trained_clips(folder, sources, everyone)
    ids = {name for part in PARTS for name in splits[part]}
    by_audio = known is not None and ids <= known.keys()
    found: dict[str, set[int]] = {}
    for part in PARTS:
        if known is not None and by_audio:
            rows = _same_audio(scored, names, {name: known[name] for name in splits[part]})
        else:
            trained = set(splits[part])
            rows = {row for row, name in enumerate(names) if name in trained}
        found[part] = rows.difference(*found.values())
    counts = {part: len(rows) for part, rows in found.items()}
    return {**counts, "known_by": "audio" if by_audio else "ids"}


def say_heard(heard: Mapping[str, Any] | None, scored: int) -> None:
    """Warn where clips that were scored are no test.

    Args:
        heard: What `count_heard` returned.
        scored: How many clips were scored.
    """
    if heard is None or not heard["train"] + heard["valid"]:
        return
    how = (
        ""
        if heard["known_by"] == "audio"
        else ". This is by their ids alone: the data of the run cannot be read here"
    )
    logger.warning(
        "%d of the %d clips are no test of this model: it was trained on %d, and %d chose its "
        "epoch%s",
        *(heard["train"] + heard["valid"], scored, heard["train"], heard["valid"], how),
    )


def _trained_clips(
    folder: Path, sources: Sequence[str], everyone: Sequence[Clip]
) -> dict[str, Clip] | None:
    """The clips of a run's data by their ids; None where they cannot be told."""
    places = (folder, *folder.parents[:2])  # a run of several is in fold-K/seed-S
    record = next(filter(None, map(read_record, places)), None)
    if record is None or record["command"] != "finetune":
        return None
    config = record["config"]
    demo = str(Path(DEMO_CORPUS) / MANIFEST)
    (source,) = config["data"] or [demo]
    given = list(sources) or [demo]
    if len(given) == 1 and Path(given[0]).resolve() == Path(source).resolve():
        return {clip.id: clip for clip in everyone}
    if is_container(source):  # it may have to be fetched, or read from end to end
        return None
    try:
        clips = read_manifest(
            source, label=first_column(config["label"]), allow_outside=config["allow_outside"]
        ).clips
    except DataError:
        return None
    return {clip.id: clip for clip in clips}


def _same_audio(
    scored: Sequence[Clip], names: Sequence[str], trained: Mapping[str, Clip]
) -> set[int]:
    """Rows of the scored clips whose audio is that of trained ones."""
    shares = heard_shares(trained.values(), scored)
    heard = {row for row, share in shares.items() if share >= HEARD}
    # A corpus that was moved or copied: the same ids, with the same audio elsewhere.
    left = [
        row
        for row, name in enumerate(names)
        if row not in heard and name in trained and trained[name].path != scored[row].path
    ]
    here = clip_keys([scored[row] for row in left], progress=True)
    there = clip_keys([trained[names[row]] for row in left], progress=True)
    pairs = zip(left, here, there, strict=True)
    return heard | {row for row, one, other in pairs if one is not None and one == other}
