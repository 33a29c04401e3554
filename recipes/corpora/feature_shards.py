# SPDX-License-Identifier: Apache-2.0
"""Features on disk: shards of many clips, each an array and a list of what is in it."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from voxadapt.recipes.corpora.written_aside import write_aside

SPEC_FILE = "spec.json"

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a clip's frames lie: rows `first` to `first + frames` of a shard's array."""

    shard: str
    first: int
    frames: int


def write_shard(folder: Path, features: Mapping[str, np.ndarray]) -> None:
    """Write a shard: `<name>.npy`, and then `<name>.json`, without which nobody reads the array.

    Args:
        folder: An existing folder.
        features: Frames `[T, D]` float16 by the clip's key; at least one clip.
    """
    keys = sorted(features)
    name = blake2b(" ".join(keys).encode(), digest_size=16).hexdigest()
    lengths = [len(features[key]) for key in keys]
    shape = (sum(lengths), features[keys[0]].shape[1])
    write_aside(
        folder / f"{name}.npy",
        lambda stream: write_array(stream, map(features.__getitem__, keys), shape, "<f2"),
    )
    contents = {
        "keys": keys,
        "lengths": lengths,
        "bytes": (folder / f"{name}.npy").stat().st_size,
    }
    text = json.dumps(contents).encode()
    write_aside(folder / f"{name}.json", lambda stream: stream.write(text))


def write_array(
    stream: BinaryIO, clips: Iterable[np.ndarray], shape: tuple[int, int], dtype: str
) -> None:
    """Write clips one after the other, with the bytes that `np.save` would write of all in one.

    Args:
        stream: An open file.
        clips: Frames `[T, D]` of each clip; one at a time is in memory.
        shape: Of all together, `[sum of T, D]`.
        dtype: What to store, such as `<f4`.
    """
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for frames in clips:
        stream.write(frames.astype(dtype, copy=False).tobytes())


def read_places(folder: Path) -> dict[str, Place]:
    """Return where each clip's features lie, by the clip's key.

    A shard whose array does not have the size that was written (cut off by a full disk or a broken
    copy) is passed over with a warning: its clips count as not extracted and are made again.

    Args:
        folder: The folder of one backbone's shards.
    """
    places: dict[str, Place] = {}
    for listing in sorted(folder.glob("*.json")):
        if listing.name == SPEC_FILE:
            continue
        try:
            contents = json.loads(listing.read_bytes())
            keys, lengths = contents["keys"], contents["lengths"]
            whole = listing.with_suffix(".npy").stat().st_size == contents["bytes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("features in %s are not used: %s", listing, error)
            continue
        if not whole:
            logger.warning("features in %s are damaged and are made again", listing)
            continue
        firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).tolist()
        places.update(
            (key, Place(listing.stem, first, frames))
            for key, first, frames in zip(keys, firsts, lengths, strict=True)
        )
    return places


class FeatureStore:
    """The features of a list of clips, read from the disk as they are asked for.

    Args:
        folder: The folder of the shards.
        places: One per clip; its order is the store's.
        feature_size: `D`.

    Attributes:
        feature_size: `D`.
        lengths: Frames per clip `[clips]`, int64.
    """

    def __init__(self, folder: Path, places: Sequence[Place], feature_size: int) -> None:
        self.feature_size = feature_size
        self.lengths = np.array([place.frames for place in places], dtype=np.int64)
        self._folder = folder
        self._places = list(places)
        self._arrays: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._places)

    def frames(self, index: int) -> np.ndarray:
        """Return a clip's frames `[T, D]` float16: a read-only view of the file, not a copy."""
        place = self._places[index]
        if place.shard not in self._arrays:
            self._arrays[place.shard] = np.load(
                self._folder / f"{place.shard}.npy", mmap_mode="r", allow_pickle=False
            )
        return self._arrays[place.shard][place.first : place.first + place.frames]

    def __getstate__(self) -> dict[str, object]:
        """Leave the open files behind: pickling a memory map would copy all of its content."""
        return {**self.__dict__, "_arrays": {}}
