# SPDX-License-Identifier: Apache-2.0
"""Audio inside of a tar file, read by its place without unpacking."""

import tarfile
from dataclasses import dataclass

_BLOCK = 512
"""Bytes of a tar header, which ends where the member begins."""


@dataclass(slots=True)
class TarMember:
    """A member of a tar file that is not compressed.

    Attributes:
        shard: Path of the tar file.
        member: Name of the member.
        offset: Where its bytes begin in the tar file.
        size: How many there are.
        checksum: That of its header.
        seconds: Length of the audio by its own header; None where it could not be read.
        digest: `content_digest` of the bytes; None where it must be computed from them.
    """

    shard: str
    member: str
    offset: int
    size: int
    checksum: int
    seconds: float | None = None
    digest: bytes | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.shard}:{self.member}"

    @property
    def order(self) -> tuple[str, int]:
        """Where it lies."""
        return self.shard, self.offset

    def read(self) -> bytes:
        """The bytes of the member.

        Raises:
            OSError: The tar file cannot be read, or is another than the one that was indexed.
        """
        with open(self.shard, "rb") as stream:
            stream.seek(self.offset - _BLOCK)
            content = stream.read(_BLOCK + self.size)
        try:
            header = tarfile.TarInfo.frombuf(content[:_BLOCK], tarfile.ENCODING, "surrogateescape")
            same = (header.size, header.chksum) == (self.size, self.checksum)
        except tarfile.HeaderError:
            same = False
        if not same or len(content) < _BLOCK + self.size:
            raise OSError(
                f"{self.shard} no longer has {self.member} where it was when the command started; "
                "start again, when nothing writes to it any more"
            )
        return content[_BLOCK:]
