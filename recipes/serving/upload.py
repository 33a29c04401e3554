# SPDX-License-Identifier: Apache-2.0
"""The body of a request, as it streams in, becomes one audio file in memory."""

from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from voxadapt.recipes.serving.clip_reading import UploadedAudio
from voxadapt.recipes.serving.refusal import RefusedError

_RAW_TYPES = ("application/octet-stream", "application/ogg")
_LONGEST_NAME = 120  # characters of a file's name that messages repeat


class UploadMemory:
    """Bytes of all uploads that are in memory at a time.

    Args:
        most_bytes: Bytes allowed.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = 0

    def take(self, count: int) -> None:
        """Hold some more bytes.

        Raises:
            RefusedError: There is no room for them.
        """
        if self._held + count > self._most_bytes:
            raise RefusedError(
                503,
                "busy",
                f"Other uploads hold the {self._most_bytes:,} bytes that are kept for them. Send "
                "it again in a moment.",
                retry_after=1,
            )
        self._held += count

    def give_back(self, count: int) -> None:
        """Hold them no longer."""
        self._held -= count

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._held


class Upload:
    """One request's audio; as a context manager, so that its bytes are given back.

    Args:
        request: What came.
        memory: Where its bytes are counted.
    """

    def __init__(self, request: Request, memory: UploadMemory) -> None:
        self._request = request
        self._memory = memory
        self._taken = 0

    async def __aenter__(self) -> UploadedAudio:
        """Read the body.

        Raises:
            RefusedError: It is of no type that is read, malformed or empty, or there is no room.
        """
        try:
            return await self._read()
        except BaseException:
            self._memory.give_back(self._taken)
            raise

    async def __aexit__(self, *_: object) -> None:
        """Give its bytes back."""
        self._memory.give_back(self._taken)

    async def _read(self) -> UploadedAudio:
        kind, options = parse_options_header(self._request.headers.get("content-type", ""))
        media_type = kind.decode("latin-1").lower()
        if media_type == "multipart/form-data":
            return await read_form(self._counted(), options.get(b"boundary", b""))
        if media_type and not media_type.startswith("audio/") and media_type not in _RAW_TYPES:
            raise RefusedError(
                415,
                "wrong_type",
                f"Content-Type: found {media_type!r}, allowed are multipart/form-data with one "
                "file (curl -F file=@clip.wav), audio/* and application/octet-stream (curl "
                "-H 'Content-Type: audio/wav' --data-binary @clip.wav).",
            )
        content = bytearray()
        async for chunk in self._counted():
            content += chunk
        if not content:
            raise RefusedError(400, "empty", "body: found 0 bytes. Send an audio file.")
        return UploadedAudio("body", bytes(content))

    async def _counted(self) -> AsyncIterator[bytes]:
        async for chunk in self._request.stream():
            self._memory.take(len(chunk))
            self._taken += len(chunk)
            yield chunk


class _Form:
    """What a multipart body has brought so far."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.names: list[str] = []  # of the files
        self.complete = False
        self._is_file = False
        self._header = b""
        self._disposition = b""

    def on_part_begin(self) -> None:
        self._disposition = self._header = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end].lower()

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        if self._header == b"content-disposition":
            self._disposition += data[start:end]

    def on_header_end(self) -> None:
        self._header = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            raise RefusedError(
                400,
                "malformed",
                f"body: found a field {name[:_LONGEST_NAME]!r} that is no file. Send one file "
                "(curl -F file=@clip.wav); options go into the address (/predict?embedding=true).",
            )
        self.names.append(options[b"filename"].decode("utf-8", "replace"))
        if len(self.names) > 1:
            raise RefusedError(
                400,
                "malformed",
                "body: found more than one file. Send each with a request of its own; those that "
                "come together are computed together.",
            )

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.content += data[start:end]

    def on_end(self) -> None:
        self.complete = True


async def read_form(chunks: AsyncIterator[bytes], boundary: bytes) -> UploadedAudio:
    """Read ``multipart/form-data`` with one file in it; nothing is written to disk.

    Args:
        chunks: The body.
        boundary: What stands between its parts, from the header.

    Raises:
        RefusedError: It is malformed, or does not hold one file.
    """
    if not boundary:
        raise RefusedError(
            400,
            "malformed",
            "Content-Type: found multipart/form-data without a boundary. Let the library that "
            "builds the body write this header.",
        )
    form = _Form()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError as error:
        raise RefusedError(
            400, "malformed", f"body: is no multipart/form-data ({error})."
        ) from error
    if not form.complete:
        raise RefusedError(
            400, "malformed", "body: the multipart/form-data ends early. Send it again, whole."
        )
    if not form.content:
        raise RefusedError(
            400, "empty", "body: found no file, or one of 0 bytes. Send an audio file."
        )
    return UploadedAudio(short_name(form.names[0]), bytes(form.content))


def short_name(name: str) -> str:
    """The last part of a file's name, as messages repeat it; it leads nowhere."""
    last = PurePosixPath(name.replace("\\", "/")).name
    printable = "".join(sign if sign.isprintable() else "?" for sign in last)
    return printable[-_LONGEST_NAME:] or "file"
