# SPDX-License-Identifier: Apache-2.0
"""Features as the files that fairseq's and emotion2vec's scripts read.

Both know a part of a corpus by a name, such as ``train``, and find by it:

- ``train.npy``: the frames of all clips one after the other, ``[sum of T, D]`` float32;
- ``train.lengths``: each clip's number of frames, one a line;
- ``train.tsv``: the folder of the audio, then each file in it and its samples at 16 kHz. fairseq's
  wav2vec-U scripts (``apply_pca.py``, ``mean_pool.py``, ``merge_clusters.py``) copy it along;
- ``train.emo``: each clip's id and label, where all clips have one; emotion2vec's
  ``iemocap_downstream`` takes the second word of a line as the label, so there is an underscore in
  place of space inside ids and labels.

One more is for people: ``train.ids``, each clip's id as the manifest has it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_seconds
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_shards import FeatureStore, write_array

WHOLE = "all"
"""Name of the part where no clip belongs to one."""

_ENDINGS = ("npy", "lengths", "tsv", "emo", "ids")
_SAMPLE_RATE = 16_000


def parts_of(clips: Sequence[Clip]) -> dict[str, list[int]]:
    """Divide clips by their ``split``; all of them are one part where none has any.

    Returns:
        Indices into `clips` by the name of the part, in the clips' order.

    Raises:
        DataError: Some clips have a split and others have none, or a part is labelled in part.
    """
    parts: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        parts.setdefault(clip.split or WHOLE, []).append(index)
    problems = []
    if WHOLE in parts and len(parts) > 1:
        problems.append(
            f"{len(parts[WHOLE]):,} clips have no split and the others have one, and no file can "
            "be named after nothing: fill the `split` column, or take it out"
        )
    for name, indices in parts.items():
        missing = [clips[index].id for index in indices if clips[index].label is None]
        if 0 < len(missing) < len(indices):
            problems.append(
                f"{len(missing):,} of the {len(indices):,} clips of {name} have no label, the "
                f"first of them {missing[0]!r}: label all of a part, or none"
            )
    if problems:
        raise DataError("the clips cannot be exported:", problems)
    return parts


def export_files(folder: Path, parts: Sequence[str]) -> list[Path]:
    """The files that exporting these parts may write."""
    return [folder / f"{name}.{ending}" for name in parts for ending in _ENDINGS]


def export_npy(
    folder: Path, parts: Mapping[str, Sequence[int]], clips: Sequence[Clip], store: FeatureStore
) -> list[Path]:
    """Write the files of each part; memory is needed for one clip at a time.

    Args:
        folder: Where to write; made if it is not there.
        parts: Indices into `clips` by the name of the part, as `parts_of` gives them.
        clips: The clips.
        store: Their features, in the same order.

    Returns:
        The files written.

    Raises:
        OSError: The folder cannot be written; every file there is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, indices in parts.items():
        for ending, lines in _texts(indices, clips, store).items():
            # The names of files as they are, bytes that are no UTF-8 included.
            text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
            written.append(folder / f"{name}.{ending}")
            write_aside(written[-1], text)
        # The biggest comes last: where it is, the part is complete.
        written.append(folder / f"{name}.npy")
        write_aside(written[-1], partial(_write_frames, indices, store))
    return written


def _texts(
    indices: Sequence[int], clips: Sequence[Clip], store: FeatureStore
) -> dict[str, list[str]]:
    """The lines of a part's text files, by their ending."""
    chosen = [clips[index] for index in indices]
    texts = {
        "lengths": [str(store.lengths[index]) for index in indices],
        "tsv": list(_audio_lines(chosen)),
        "ids": [" ".join(clip.id.splitlines()) for clip in chosen],
    }
    if chosen[0].label is not None:  # and then all have one: see parts_of
        texts["emo"] = [f"{_one_word(clip.id)}\t{_one_word(clip.label)}" for clip in chosen]
    return texts


def _write_frames(indices: Sequence[int], store: FeatureStore, stream: BinaryIO) -> None:
    shape = (int(store.lengths[list(indices)].sum()), store.feature_size)
    write_array(stream, map(store.frames, indices), shape, "<f4")


def _audio_lines(clips: Sequence[Clip]) -> Iterator[str]:
    """Yield the folder that holds all of the audio, then each file in it and its samples."""
    root = os.path.commonpath([clip.path.parent for clip in clips])
    yield root
    for clip in clips:
        yield f"{os.path.relpath(clip.path, root)}\t{round(clip_seconds(clip) * _SAMPLE_RATE)}"


def _one_word(text: str | None) -> str:
    return "_".join(str(text).split())
