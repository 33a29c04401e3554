# SPDX-License-Identifier: Apache-2.0
"""Reads a WebDataset shard through: which samples it holds, and where their audio lies."""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxadapt.backbones.audio import AudioError, audio_seconds
from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS
from voxadapt.recipes.corpora.clip_keys import content_digest
from voxadapt.recipes.corpora.json_text import text_of_json
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.corpora.tar_member import TarMember

_TEXT_BYTES = 1 << 20
"""A larger text member is none that says what a clip is."""


@dataclass(slots=True)
class ShardSample:
    """One sample of a shard: members whose names differ only by what follows the first dot.

    Attributes:
        key: What they have in common.
        audio: Its audio members; a clip has one.
        fields: What its .json, .cls and .txt members say, as text.
        faults: What is wrong with what they say, one clause each.
    """

    key: str
    audio: list[TarMember] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def read_samples(shard: Path) -> Iterator[ShardSample]:
    """Yield a shard's samples from its beginning to its end, one member in memory at a time.

    Raises:
        tarfile.TarError: It is no tar file, compressed, cut off, or goes on behind its end.
        OSError: It cannot be read.
    """
    from webdataset.tariterators import base_plus_ext

    sample: ShardSample | None = None
    with tarfile.open(shard, mode="r:") as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # which would all be kept
            key, ending = base_plus_ext(info.name.removeprefix("./"))
            if info.issparse():
                raise tarfile.TarError(f"{info.name} is a sparse file")
            # `__name__` is metadata by WebDataset's rules.
            if key is None or not info.isreg() or os.path.basename(key).startswith("__"):
                continue
            if sample is None or key != sample.key:
                if sample is not None:
                    yield sample
                sample = ShardSample(key)
            _add_member(sample, shard, archive, info, ending.lower())
        _check_end(shard, archive.offset)
    if sample is not None:
        yield sample


def _check_end(shard: Path, offset: int) -> None:
    """Check that a tar file ends where it says so: not before, and with nothing behind it.

    Raises:
        tarfile.TarError: Samples are missing, or would be passed over.
    """
    with shard.open("rb") as stream:
        stream.seek(offset)
        found = False
        while chunk := stream.read(_TEXT_BYTES):
            if chunk.count(0) < len(chunk):
                raise tarfile.TarError(
                    f"something lies behind its end, at byte {offset}: tar files are joined by "
                    "`tar --concatenate` and not by `cat`"
                )
            found = True
    if not found:
        raise tarfile.TarError("it has no end mark, so it was cut off")


def _add_member(
    sample: ShardSample, shard: Path, archive: tarfile.TarFile, info: tarfile.TarInfo, ending: str
) -> None:
    if f".{ending}".endswith(AUDIO_EXTENSIONS):
        place = (info.name, info.offset_data, info.size, info.chksum)
        member = TarMember(str(shard), *place)
        content = member.read()
        member.digest = content_digest(content)
        try:
            member.seconds = audio_seconds(content)
        except AudioError:
            member.seconds = None  # it is named where audio is checked
        sample.audio.append(member)
        return
    column, _, kind = ending.rpartition(".")
    if kind not in ("json", "cls", "txt"):
        return
    if info.size > _TEXT_BYTES:
        sample.faults.append(f"{info.name} has {info.size:,} bytes, more than a text should have")
        return
    stream = archive.extractfile(info)
    assert stream is not None
    try:
        fields = _fields(stream.read(), column, kind)
    except (ValueError, RecursionError) as error:
        sample.faults.append(f"{info.name} cannot be read ({error})")
        return
    for name, value in fields.items():
        if sample.fields.setdefault(name, value) != value:
            sample.faults.append(f"its members say two things of {name!r}")


def _fields(content: bytes, column: str, kind: str) -> dict[str, str]:
    """What a member says: an object's entries, a class, or a text.

    Raises:
        ValueError: It is no UTF-8, or no JSON.
    """
    text = content.decode().strip()
    if kind != "json":
        return {column or {"cls": "label", "txt": "text"}[kind]: text}
    value: Any = json.loads(text)
    if not isinstance(value, dict):
        return {column or "json": _as_text(value)}
    return {f"{column}.{name}" if column else name: _as_text(value[name]) for name in value}


def _as_text(value: Any) -> str:
    return printable(text_of_json(value))
