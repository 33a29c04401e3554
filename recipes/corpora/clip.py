# SPDX-License-Identifier: Apache-2.0
"""One clip of a corpus."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class ClipSource(Protocol):
    """Audio that is no file of its own: a row of a dataset, a member of an archive.

    It is what `read_audio` takes as `AudioContent`. It goes to other processes with its clip, so it
    holds where the audio is, and not the audio.

    Attributes:
        size: Bytes that `read` returns.
        seconds: The length of the audio by its header; None where that is not known yet.
        digest: `content_digest` of the bytes; None where that is not known yet.
    """

    size: int
    seconds: float | None
    digest: bytes | None

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def order(self) -> tuple[str, int]:
        """What it lies in, and where: audio that is read in this order is read from one end on."""
        ...

    def read(self) -> bytes:
        """The bytes, as a file of its own would hold them.

        Raises:
            OSError: They cannot be read.
        """
        ...


@dataclass(slots=True)
class Clip:
    """An audio file, or a part of one, and what the manifest says about it.

    Attributes:
        id: Unique in its manifest.
        path: Absolute path of the audio file. Where the audio is no file of its own, the name of
            `source`, which is another for each audio.
        start: Where the clip begins in the file (seconds); None is the file's beginning.
        end: Where it ends (seconds); None is the file's end.
        label: The class, from the column that was chosen as the label; None where it is unknown.
        speaker: Who speaks; None where it is unknown.
        split: `train`, `valid` or `test`; None where the manifest does not say.
        fold: The cross-validation fold; None where the manifest does not say.
        columns: All further columns, as text.
        source: What reads the audio where it is no file of its own.
    """

    id: str
    path: Path
    start: float | None = None
    end: float | None = None
    label: str | None = None
    speaker: str | None = None
    split: str | None = None
    fold: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    source: ClipSource | None = None

    @property
    def audio(self) -> Path | ClipSource:
        """What to give to `read_audio`, with `start` and `end`."""
        return self.source or self.path

    @property
    def audio_bytes(self) -> int:
        """Bytes of the file that the clip is in, or a part of.

        Raises:
            OSError: The file is not there.
        """
        return self.path.stat().st_size if self.source is None else self.source.size
