# SPDX-License-Identifier: Apache-2.0
"""A frozen encoder never changes: each clip goes through it once and is read from disk after."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from voxadapt.adapters.written_aside import write_aside
from voxadapt.backbones.audio import AudioError, read_audio
from voxadapt.backbones.base import Backbone
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import Gather, clip_keys, clip_seconds, map_in_threads
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_extraction import KeyedClip, extract_shards, plan_shards
from voxadapt.recipes.corpora.feature_shards import SPEC_FILE, FeatureStore, Place, read_places

__all__ = ["BadClip", "FeatureStore", "bad_audio_error", "extract_features", "features_folder_of"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BadClip:
    """A clip whose audio cannot be used.

    Attributes:
        id: The clip's id.
        path: The audio file.
        reason: As `AudioError.reason`: `missing`, `unreadable`, `silent`, ...
        message: What was found, and what to do.
    """

    id: str
    path: str
    reason: str
    message: str


def extract_features(
    clips: Sequence[Clip],
    backbone: Backbone,
    folder: Path,
    *,
    batch_seconds: float | None = None,
    device: str | torch.device = "cpu",
    on_bad_audio: Literal["error", "skip"] = "error",
    rank: int = 0,
    world: int = 1,
    barrier: Callable[[], None] | None = None,
    gather: Gather | None = None,
    progress: bool = True,
) -> tuple[FeatureStore, list[int], list[BadClip]]:
    """Return the features of all clips, running the backbone only on those not on disk yet.

    Features lie under the backbone's cache key (its weights, layer, context and precision) and the
    audio's content (`clip_keys`), as float16. So corpora and runs share one folder, and a clip or a
    setting that changes is extracted anew. An extraction that is killed goes on where it stopped
    and writes the same bytes as one that is not; so do several processes, among which the shards
    are dealt out.

    Args:
        clips: The clips; at least one.
        backbone: The frozen encoder; a module is moved to `device`.
        folder: The cache; made if it is not there.
        batch_seconds: Padded audio per batch (seconds); None takes what is fast for the backbone on
            this device. It bounds the memory and changes nothing but the last bits.
        device: Where the backbone runs.
        on_bad_audio: With `error`, any clip that cannot be read is an error, after all the others
            are done; with `skip`, such clips are left out and returned.
        rank: This process, from 0.
        world: The number of processes; each calls this function with the same clips.
        barrier: Waits for all processes; required if there are several.
        gather: Gives every process a list of what each of them gives. With it the processes share
            the reading of all audio that finds each clip by its content; without, each reads all.
        progress: Whether to show progress bars; only the first process does.

    Returns:
        The store, the indices of the clips that are in it (the store's clip `i` is
        `clips[kept[i]]`), and the clips that are not, which are the same on all processes.

    Raises:
        DataError: Bad clips under `error`; no clip that is good; features that are not finite or
            too large for float16; a cache folder of another kind, or that cannot be written.
        RuntimeError: Another process did not do its part.
        ValueError: Arguments outside of what is allowed.

    Example:
        >>> store, kept, bad = extract_features(  # doctest: +SKIP
        ...     manifest.clips, load_backbone("fbank"), Path("runs/features")
        ... )
        >>> store.frames(0).shape  # doctest: +SKIP
        (150, 160)
    """
    _check_arguments(clips, batch_seconds, on_bad_audio, rank, world, barrier)
    progress = progress and rank == 0
    features_folder = open_folder(Path(folder), backbone)
    keys = clip_keys(clips, progress=progress, rank=rank, world=world, gather=gather)
    done = read_places(features_folder)
    some_left = any(key is not None and key not in done for key in keys)
    if some_left:
        shards = plan_shards(_keyed(clips, keys))[rank::world]
        left = [[keyed for keyed in shard if keyed.key not in done] for shard in shards]
        if isinstance(backbone, nn.Module):
            backbone.to(device)
        try:
            extract_shards(
                [shard for shard in left if shard],
                backbone,
                features_folder,
                batch_seconds=batch_seconds or backbone.preferred_batch_seconds,
                device=device,
                progress=progress,
                processes=world,
            )
        except OSError as error:
            raise _not_writable(features_folder, error) from error
    if barrier is not None:
        barrier()
    if some_left:
        del done  # which may be large, before the next one is
        done = read_places(features_folder)
    store, kept, bad = _open_store(clips, keys, done, features_folder, backbone.spec.feature_size)
    if bad and (on_bad_audio == "error" or not kept):
        raise bad_audio_error(bad, len(clips))
    return store, kept, bad


def _check_arguments(
    clips: Sequence[Clip],
    batch_seconds: float | None,
    on_bad_audio: str,
    rank: int,
    world: int,
    barrier: Callable[[], None] | None,
) -> None:
    if not clips:
        raise ValueError("clips is empty; give at least one clip.")
    if batch_seconds is not None and not batch_seconds > 0:
        raise ValueError(f"batch_seconds is {batch_seconds}; give more than 0, such as 60.")
    if on_bad_audio not in ("error", "skip"):
        raise ValueError(f"on_bad_audio is {on_bad_audio!r}; allowed are 'error' and 'skip'.")
    if not 0 <= rank < world:
        raise ValueError(f"rank is {rank} of {world} processes; it must be in 0..{world - 1}.")
    if world > 1 and barrier is None:
        raise ValueError(
            f"barrier is None with {world} processes; give a function that waits for all of them."
        )


def open_folder(folder: Path, backbone: Backbone) -> Path:
    """Return the folder of this backbone's features, with its description in it.

    Args:
        folder: The cache.
        backbone: Whose features.

    Raises:
        DataError: It cannot be written, or holds something else.
    """
    features_folder = features_folder_of(folder, backbone)
    spec_file = features_folder / SPEC_FILE
    try:
        features_folder.mkdir(parents=True, exist_ok=True)
        if not spec_file.exists():
            text = json.dumps(_describe(backbone), indent=2).encode()
            write_aside(spec_file, text)
    except OSError as error:
        raise _not_writable(features_folder, error) from error
    try:
        found = json.loads(spec_file.read_bytes())
        matches = found["format"] == _FORMAT and _same_features(found, backbone)
    except (ValueError, KeyError, TypeError, AttributeError):
        matches = False
    if not matches:
        raise DataError(
            f"{spec_file} does not describe format {_FORMAT} of the backbone "
            f"{backbone.fingerprint()} in {backbone.precision}; delete the folder it lies in to "
            "extract these features again, or give another cache folder."
        )
    return features_folder


def features_folder_of(folder: Path, backbone: Backbone) -> Path:
    """Return where in a cache a backbone's features lie, computed in its precision."""
    return folder / backbone.cache_key()[:16]


def _describe(backbone: Backbone) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "fingerprint": backbone.fingerprint(),
        "precision": backbone.precision,
        "config": backbone.config(),
        "feature_size": backbone.spec.feature_size,
        "frame_rate": backbone.spec.frame_rate,
    }


def _same_features(found: dict[str, Any], backbone: Backbone) -> bool:
    # Before there was a choice of precision, its name was not written down.
    made = (found["fingerprint"], found.get("precision", "fp32"))
    return made == (backbone.fingerprint(), backbone.precision)


def _not_writable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the feature cache {folder} cannot be written ({error}); make room, or give another "
        "folder with --features. What is done is kept."
    )


def _keyed(clips: Sequence[Clip], keys: Sequence[str | None]) -> list[KeyedClip]:
    """Return each key once: clips with the same audio share their features."""
    first: dict[str, Clip] = {}
    for clip, key in zip(clips, keys, strict=True):
        if key is not None:
            first.setdefault(key, clip)
    seconds = map_in_threads(clip_seconds, list(first.values()))  # every header is a file to open
    return [
        KeyedClip(key, clip, length)
        for (key, clip), length in zip(first.items(), seconds, strict=True)
    ]


def _open_store(
    clips: Sequence[Clip],
    keys: Sequence[str | None],
    places: Mapping[str, Place],
    features_folder: Path,
    feature_size: int,
) -> tuple[FeatureStore, list[int], list[BadClip]]:
    kept: list[int] = []
    bad: list[BadClip] = []
    found: list[str] = []
    for index, (clip, key) in enumerate(zip(clips, keys, strict=True)):
        if key is None or key not in places:
            bad.append(_why_bad(clip))
        else:
            kept.append(index)
            found.append(key)
    store = FeatureStore(features_folder, (places[key] for key in found), feature_size)
    return store, kept, bad


def _why_bad(clip: Clip) -> BadClip:
    """Ask a clip that has no features why.

    Every process asks by itself, so all have the same list without sending one another anything.
    """
    try:
        read_audio(clip.audio, start=clip.start, end=clip.end)
    except AudioError as error:
        return BadClip(clip.id, str(clip.path), error.reason, str(error))
    raise RuntimeError(
        f"clip {clip.id!r} ({clip.path}) has no features although its audio can be read: another "
        "process stopped, or the file changed meanwhile. Start again; what is done is kept."
    )


def bad_audio_error(bad: Sequence[BadClip], clips: int) -> DataError:
    """The error that names clips whose audio cannot be used, out of so many clips."""
    reasons = Counter(clip.reason for clip in bad).most_common()
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    way_out = (
        "No clip is left; see whether the manifest belongs to this audio"
        if len(bad) == clips
        else "Repair them, or leave them out by --on-bad-audio skip"
    )
    return DataError(
        f"the audio of {len(bad):,} of {clips:,} clips cannot be used ({counts}). {way_out}:",
        [f"{clip.id}: {clip.message}" for clip in bad],
    )
