# SPDX-License-Identifier: Apache-2.0
"""What lies where in a WebDataset shard: made once by reading it through, and kept beside it."""

import json
import logging
import os
import tarfile
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

from voxadapt.adapters.written_aside import write_aside
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.shard_samples import ShardSample, read_samples
from voxadapt.recipes.corpora.tar_member import TarMember

logger = logging.getLogger(__name__)

INDEX_ENDING = ".index.json"
OTHER_PLACE = Path("runs/shard_index")
"""Where indexes lie of shards whose folder may not be written to."""

_FORMAT = 1
_SETTLED_SECONDS = 2.0


def index_shard(shard: Path) -> list[ShardSample]:
    """Return what a shard holds: from its index, or by reading it, which leaves an index.

    An index counts only for the very file that it was made of: the same inode, size, and times of
    the last change of content and of anything at all, of which the system lets no program set the
    last. Where the file system keeps no such time, or may not be written to, so that this cannot be
    tried, or the shard was just written when it was indexed, content digests are left out of the
    index, and a start that needs them reads the audio.

    Args:
        shard: A tar file.

    Raises:
        DataError: It cannot be read, is compressed, cut off, or no tar file.
    """
    try:
        state = _state(shard)
        for place in _places(shard):
            samples = _read_index(place, shard, state)
            if samples is not None:
                return samples
        settled = time.time() - shard.stat().st_ctime > _SETTLED_SECONDS
        samples = list(read_samples(shard))
        if _state(shard) != state:
            raise DataError(f"the shard {shard} changes while it is read; wait until it is written")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DataError(
            f"the shard {shard} cannot be read as a tar file ({error}); it must be one that is not "
            "compressed (gunzip it), whole and on a disk or a network file system"
        ) from error
    trusted = settled and _keeps_change_times(shard.parent)
    _write_index(shard, state, samples, with_digests=trusted)
    return samples


def _state(shard: Path) -> list[int]:
    found = shard.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _keeps_change_times(folder: Path) -> bool:
    """Try whether a file that is written again shows it even where its date is put back."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".voxadapt-") as trial:
            trial.write(b"one")
            trial.flush()
            before = os.fstat(trial.fileno())
            time.sleep(0.02)  # clocks of file systems tick every few milliseconds
            trial.seek(0)
            trial.write(b"two")
            trial.flush()
            os.utime(trial.name, ns=(before.st_atime_ns, before.st_mtime_ns))
            after = os.stat(trial.name)
            return os.name == "posix" and after.st_ctime_ns > before.st_ctime_ns
    except OSError:
        return False


def _places(shard: Path) -> list[Path]:
    """Where a shard's index may lie: beside it, or with other such indexes."""
    name = blake2b(os.fsencode(shard), digest_size=8).hexdigest()
    beside = shard.with_name(shard.name + INDEX_ENDING)
    return [beside, OTHER_PLACE / f"{shard.name}-{name}{INDEX_ENDING}"]


def _write_index(
    shard: Path, state: list[int], samples: list[ShardSample], *, with_digests: bool
) -> None:
    rows = [
        [
            sample.key,
            [
                [
                    member.member,
                    member.offset,
                    member.size,
                    member.checksum,
                    member.seconds,
                    member.digest.hex() if member.digest and with_digests else None,
                ]
                for member in sample.audio
            ],
            sample.fields,
            sample.faults,
        ]
        for sample in samples
    ]
    content = {"format": _FORMAT, "state": state, "samples": rows}
    text = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    for place in _places(shard):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_aside(place, text)
            return
        except OSError as error:
            refused = error
    logger.warning(
        "no index of %s could be written (%s): each start reads it through", shard, refused
    )


def _read_index(place: Path, shard: Path, state: list[int]) -> list[ShardSample] | None:
    try:
        content = json.loads(place.read_bytes())
        if (content["format"], content["state"]) != (_FORMAT, state):
            return None
        return [
            ShardSample(key, [_member(shard, *stored) for stored in audio], fields, faults)
            for key, audio, fields, faults in content["samples"]
        ]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is not used, and the shard is read through again: %s", place, error)
        return None


def _member(
    shard: Path,
    name: str,
    offset: int,
    size: int,
    checksum: int,
    seconds: float | None,
    digest: str | None,
) -> TarMember:
    found = None if digest is None else bytes.fromhex(digest)
    return TarMember(str(shard), name, offset, size, checksum, seconds, found)
