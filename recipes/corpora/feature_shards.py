# SPDX-License-Identifier: Apache-2.0
"""Features on disk: shards of many clips, each an array and a list of what is in it."""

import json
import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.corpora.errors import DataError

SPEC_FILE = "spec.json"

_STORED = np.dtype("<f2")

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
        lambda stream: write_array(stream, map(features.__getitem__, keys), shape, _STORED.str),
    )
    contents = {
        "keys": keys,
        "lengths": lengths,
        "bytes": (folder / f"{name}.npy").stat().st_size,
    }
    text = json.dumps(contents).encode()
    write_aside(folder / f"{name}.json", text)


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


class Places(Mapping[str, Place]):
    """Places by the clip's key, in half the memory of a dictionary of them."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._shards: list[str] = []
        self._numbers = array("q")  # three for each clip: the shard's, first, frames

    def add(self, shard: str, keys: Sequence[str], lengths: Sequence[int]) -> None:
        """Add a shard's clips, which lie in it one after the other."""
        first = 0
        for key, frames in zip(keys, lengths, strict=True):
            self._rows[key] = len(self._numbers)
            self._numbers.extend((len(self._shards), first, frames))
            first += frames
        self._shards.append(shard)

    def __getitem__(self, key: str) -> Place:
        row = self._rows[key]
        shard, first, frames = self._numbers[row : row + 3]
        return Place(self._shards[shard], first, frames)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def read_places(folder: Path) -> Places:
    """Return where each clip's features lie, by the clip's key.

    A shard whose array does not have the size that was written (cut off by a full disk or a broken
    copy) is passed over with a warning: its clips count as not extracted and are made again.

    Args:
        folder: The folder of one backbone's shards.
    """
    places = Places()
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
        places.add(listing.stem, keys, lengths)
    return places


class FeatureStore:
    """The features of a list of clips, read from the disk as they are asked for.

    Nothing is kept open or mapped: a corpus has more shards than a process may have maps (65,530 on
    Linux, which 10,000 hours come near), and mapped pages count as the process's memory.

    Args:
        folder: The folder of the shards.
        places: One per clip; its order is the store's.
        feature_size: `D`.

    Attributes:
        feature_size: `D`.
        lengths: Frames per clip `[clips]`, int64.
    """

    def __init__(self, folder: Path, places: Iterable[Place], feature_size: int) -> None:
        self.feature_size = feature_size
        # An array instead of a tuple for each clip: a fifth of the memory.
        numbers: dict[str, int] = {}
        rows = array("q")
        for shard, first, frames in places:
            rows.extend((numbers.setdefault(shard, len(numbers)), first, frames))
        self._rows = np.array(rows, dtype=np.int64).reshape(-1, 3)  # shard, first, frames
        self.lengths = self._rows[:, 2].copy()
        self._folder = folder
        self._names = list(numbers)
        self._offsets = np.zeros(len(numbers), dtype=np.int64)  # of the frames; 0 is not known yet

    def __len__(self) -> int:
        return len(self.lengths)

    def audio_numbers(self) -> np.ndarray:
        """Number the audio of the clips: files of the same content have the same number.

        Features lie under the content of the file and the segment, so copies lie in one place.

        Returns:
            ``[clips]`` int64, from 0.
        """
        return np.unique(self._rows, axis=0, return_inverse=True)[1].reshape(-1)

    def frames(self, index: int) -> np.ndarray:
        """Read a clip's frames `[T, D]` float16, not to be written to.

        Raises:
            DataError: The shard is not as it was when the store was made, or the frames are not
                finite: they were when they were written.
        """
        shard, first, length = self._rows[index].tolist()
        path = self._folder / f"{self._names[shard]}.npy"
        try:
            if not self._offsets[shard]:
                self._offsets[shard] = _frames_offset(path, self.feature_size)
            row_bytes = _STORED.itemsize * self.feature_size
            offset = int(self._offsets[shard]) + first * row_bytes
            count = length * self.feature_size
            frames = np.fromfile(path, dtype=_STORED, count=count, offset=offset)
            frames = frames.reshape(length, self.feature_size)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} has changed or cannot be read any more ({error}). Start again: what is "
                "cut off or gone is made again. If this message stays, delete the file first."
            ) from error
        # Of float16 by its bits: an exponent of ones is NaN or infinity. numpy.isfinite takes ten
        # times as long.
        if ((frames.view(np.uint16) & 0x7C00) == 0x7C00).any():
            raise DataError(
                f"{path}: rows {first} to {first + length - 1}, the features of one clip, hold NaN "
                "or infinity, so the file was damaged after it was written. Delete it and start "
                "again: its clips are made again."
            )
        frames.flags.writeable = False
        return frames


def _frames_offset(path: Path, feature_size: int) -> int:
    """Where the frames begin in a shard's array (bytes)."""
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, in_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        if in_columns or dtype != _STORED or shape[1:] != (feature_size,):
            raise ValueError(f"found {dtype} of shape {shape}, expected {feature_size} features")
        return stream.tell()
