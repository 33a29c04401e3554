# SPDX-License-Identifier: Apache-2.0
"""The frames of many layers in one pass: each goes where a run on that layer looks for it."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

import torch
from tqdm import tqdm

from voxadapt.backbones import AudioError, Backbone
from voxadapt.backbones.audio import read_audio
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_keys, clip_seconds
from voxadapt.recipes.corpora.feature_cache import (
    extract_features,
    features_folder_of,
    open_folder,
)
from voxadapt.recipes.corpora.feature_shards import read_places, write_shard

# All layers of so much audio are in memory at once, 0.6 GB of a HuBERT-large, and lost by a kill.
CHUNK_SECONDS = 240.0
SCRATCH = "layers-at-once-"

# Key, clip and length (seconds) of audio that is not in the cache yet.
Missing = tuple[str, Clip, float]


def fill_layer_caches(
    clips: Sequence[Clip],
    whole: Backbone,
    folders: Mapping[int, Path],
    features: Path,
    *,
    device: torch.device,
    keep_whole: bool,
) -> None:
    """Run the encoder once over each clip that some layer's cache lacks, and fill all of them.

    A pass that is killed goes on where it stopped. Clips whose audio cannot be used are passed
    over; whoever reads the caches is told of them by `extract_features`.

    Args:
        clips: The clips.
        whole: The encoder with all layers side by side, ``layer="weighted"``.
        folders: Where in the cache the frames of each layer that is wanted go, from `open_folder`.
        features: The feature cache.
        device: Where the encoder runs.
        keep_whole: Whether all layers side by side stay in the cache too, for a learnt sum.

    Raises:
        DataError: Features that are not finite, or a cache that cannot be written.
    """
    wanted = [*folders.values(), *([open_folder(features, whole)] if keep_whole else [])]
    for left in features.glob(f"{SCRATCH}*"):  # of a pass that was killed
        shutil.rmtree(left, ignore_errors=True)
    missing = _missing(clips, wanted)
    minutes = sum(seconds for _, _, seconds in missing) / 60
    bar = tqdm(
        total=minutes,
        desc=f"{whole.spec.layer_outputs} layers at once",
        disable=not missing,
        file=sys.stderr,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min of audio "
        "[{elapsed}<{remaining}]",
    )
    with bar:
        for chunk in _chunks(missing):
            _extract(chunk, whole, folders, features, device, keep_whole)
            # Of the last chunk, rounding could make it more than all.
            bar.update(min(sum(seconds for _, _, seconds in chunk) / 60, minutes - bar.n))


def _missing(clips: Sequence[Clip], folders: Sequence[Path]) -> list[Missing]:
    """The audio that one of the folders lacks."""
    places = [read_places(folder) for folder in folders]
    found: dict[str, Clip] = {}
    for clip, key in zip(clips, clip_keys(clips), strict=True):
        if key is not None and not all(key in place for place in places):
            found.setdefault(key, clip)
    return [(key, clip, clip_seconds(clip)) for key, clip in found.items()]


def _chunks(audio: Sequence[Missing]) -> Iterator[list[Missing]]:
    chunk: list[Missing] = []
    total = 0.0
    for entry in audio:
        if chunk and total + entry[2] > CHUNK_SECONDS:
            yield chunk
            chunk, total = [], 0.0
        chunk.append(entry)
        total += entry[2]
    if chunk:
        yield chunk


def _extract(
    chunk: Sequence[Missing],
    whole: Backbone,
    folders: Mapping[int, Path],
    features: Path,
    device: torch.device,
    keep_whole: bool,
) -> None:
    """Encode clips, and write each layer's columns to its own folder."""
    if not any(is_readable(clip) for _, clip, _ in chunk):
        return
    # What an earlier run has left of all layers side by side is read, and not computed again.
    ready = keep_whole or features_folder_of(features, whole).exists()
    cache = features if ready else Path(mkdtemp(prefix=SCRATCH, dir=features))
    try:
        clips = [clip for _, clip, _ in chunk]
        store, kept, _ = extract_features(
            clips, whole, cache, device=device, on_bad_audio="skip", progress=False
        )
        width = whole.spec.feature_size // whole.spec.layer_outputs
        frames = {chunk[index][0]: store.frames(row) for row, index in enumerate(kept)}
        for layer, folder in folders.items():
            columns = slice(layer * width, (layer + 1) * width)
            write_shard(folder, {key: found[:, columns] for key, found in frames.items()})
    finally:
        if not ready:
            shutil.rmtree(cache, ignore_errors=True)


def is_readable(clip: Clip) -> bool:
    """Whether a clip's audio can be used."""
    try:
        read_audio(clip.audio, start=clip.start, end=clip.end)
    except AudioError:
        return False
    return True
