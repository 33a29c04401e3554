# SPDX-License-Identifier: Apache-2.0
"""What a model takes for a clip: a file, its bytes, an open file, or samples."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from .backbones import prepare_samples, read_audio

Samples = np.ndarray | Tensor
Audio = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Samples
    | tuple[Samples, int]
    | Mapping[str, Any]
)
"""One clip, in any of the ways that `read_source` takes it."""


@dataclass(frozen=True)
class NamedBytes:
    """The content of an audio file, with a name for error messages."""

    name: str
    content: bytes

    def read(self) -> bytes:
        """The content."""
        return self.content


def read_source(
    source: Audio | NamedBytes, sample_rate: int | None = None, *, name: str | None = None
) -> Tensor:
    """Turn one accepted input into ``[S]`` float32 at 16 kHz.

    Args:
        source: A path; the content of an audio file, as bytes or as a file that is open for reading
            in binary; samples (``[S]`` or ``[channels, S]``); a pair of samples and their rate, in
            either order; or the same as a cell of a `datasets` audio column has it, under ``array``
            and ``sampling_rate``, or ``bytes`` and ``path``.
        sample_rate: Rate of samples in Hz; needed for samples alone, not allowed for the others.
        name: What error messages call audio that has no file's name.

    Raises:
        ValueError: Samples without a rate, or something else with one.
        TypeError: Nothing of the above.
        AudioError: The audio cannot be used.
    """
    held, rate = _unwrap(source)
    if isinstance(held, np.ndarray | Tensor):
        if rate is not None and sample_rate is not None:
            raise ValueError("sample_rate: the samples come with a rate already; leave it out")
        rate = sample_rate if rate is None else rate
        if rate is None:
            raise ValueError("sample_rate: missing; give the rate of the samples in Hz")
        return prepare_samples(held, _whole(rate), source=name or "samples")
    if sample_rate is not None:
        raise ValueError("sample_rate: goes with samples only; a file says its own rate")
    return read_audio(_as_file(held, name))


def find_file(source: Audio | NamedBytes) -> Path | NamedBytes | None:
    """The file that a clip is read from, with its name; None for samples.

    Raises:
        ValueError: A dictionary that holds neither.
        TypeError: Nothing that `read_source` takes.
    """
    held, _ = _unwrap(source)
    return None if isinstance(held, np.ndarray | Tensor) else _as_file(held, None)


def is_pair(source: object) -> bool:
    """Whether this is samples and their rate, in either order: one clip, not a list of two."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    kinds = [isinstance(part, np.ndarray | Tensor) and part.ndim > 0 for part in source]
    return kinds in ([True, False], [False, True]) and any(_is_number(part) for part in source)


def _unwrap(source: Any) -> tuple[Any, float | None]:
    """Take samples and rate, or a file, out of what holds them."""
    if is_pair(source):
        first, second = source
        return (second, first) if _is_number(first) else (first, second)
    if not isinstance(source, Mapping):
        return source, None
    if source.get("array") is not None and source.get("sampling_rate") is not None:
        return np.asarray(source["array"]), source["sampling_rate"]
    for field in ("bytes", "path"):
        if source.get(field) is not None:
            return source[field], None
    raise ValueError(
        f"audio: found a dictionary with {', '.join(map(repr, source)) or 'nothing'}; it needs "
        "'array' and 'sampling_rate', or 'bytes', or 'path'"
    )


def _as_file(held: Any, name: str | None) -> Path | NamedBytes:
    """A path as it is, and what is in memory or open with a name for error messages."""
    if isinstance(held, NamedBytes):
        return held
    if isinstance(held, str | os.PathLike):
        return Path(held)
    if isinstance(held, bytes | bytearray | memoryview):
        return NamedBytes(name or "<bytes>", bytes(held))
    if not hasattr(held, "read"):
        raise TypeError(
            f"audio: found {type(held).__name__}, give a path, the bytes of an audio file, an "
            "open file, or samples as a numpy array or a tensor with their rate"
        )
    content = held.read()
    if not isinstance(content, bytes | bytearray):
        raise TypeError('audio: the file was opened as text; open it with mode "rb"')
    called = getattr(held, "name", None)
    return NamedBytes(name or (called if isinstance(called, str) else "<file>"), bytes(content))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _whole(rate: float) -> int:
    if not _is_number(rate) or not float(rate).is_integer():
        raise ValueError(f"sample_rate: found {rate!r}, give a whole number of samples per second")
    return int(rate)
