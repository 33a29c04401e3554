# SPDX-License-Identifier: Apache-2.0
"""Bodies become one file in memory, or a refusal; memory is given back."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("python_multipart", reason="needs pip install -e '.[serve]'")

from voxadapt.recipes.serving.clip_reading import UploadedAudio
from voxadapt.recipes.serving.refusal import RefusedError
from voxadapt.recipes.serving.upload import Upload, UploadMemory, read_form, short_name

CONTENT = bytes(range(256)) + b"\r\n--edge\r\n--ed\r\n\r\n"
FILE = b'Content-Disposition: form-data; name="file"; filename="a clip.wav"\r\n'


def part(headers: bytes, content: bytes) -> bytes:
    return b"--edges\r\n" + headers + b"\r\n" + content + b"\r\n"


FORM = part(FILE + b"Content-Type: audio/wav\r\n", CONTENT) + b"--edges--\r\n"


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def read(body: bytes, size: int = 1 << 16, boundary: bytes = b"edges") -> UploadedAudio:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return asyncio.run(read_form(stream(chunks), boundary))


def upload(chunks: list[bytes], kind: str, memory: UploadMemory) -> tuple[UploadedAudio, int]:
    """What was read, and the bytes held meanwhile."""
    headers = {"content-type": kind} if kind else {}
    request: Any = SimpleNamespace(headers=headers, stream=lambda: stream(chunks))

    async def main() -> tuple[UploadedAudio, int]:
        async with Upload(request, memory) as source:
            return source, memory.held

    return asyncio.run(main())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 16])
def test_a_form_is_read_however_it_is_cut(size: int) -> None:
    assert read(FORM, size) == UploadedAudio("a clip.wav", CONTENT)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "ends early"),
        (FORM[:-5], "ends early"),
        (FORM[:50], "ends early"),
        (b"not a form at all", "is no multipart/form-data"),
        (part(FILE, b"1") + part(FILE, b"2") + b"--edges--\r\n", "more than one file"),
        (part(b'Content-Disposition: form-data; name="x"\r\n', b"1"), "a field 'x' that is no"),
        (part(b"Content-Type: audio/wav\r\n", b"1"), "a field '' that is no file"),
        (part(FILE, b"") + b"--edges--\r\n", "no file, or one of 0 bytes"),
        (b"--edges--\r\n", "no file, or one of 0 bytes"),
        (b"--edges\r\n" + b"x: y\r\n" * 99, "is no multipart/form-data"),
    ],
)
def test_a_malformed_form_is_refused(body: bytes, told: str) -> None:
    for size in (1, 1 << 16):
        with pytest.raises(RefusedError, match=told) as refused:
            read(body, size)
        assert refused.value.status == 400


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(RefusedError, match="without a boundary"):
        read(FORM, boundary=b"")
    with pytest.raises(RefusedError, match="is no multipart"):
        read(FORM, boundary=b"x" * 10_000)


@pytest.mark.parametrize(
    "kind", ["audio/wav", "audio/x-anything", "application/octet-stream", "AUDIO/FLAC; a=b", ""]
)
def test_a_raw_body_is_the_file(kind: str) -> None:
    memory = UploadMemory(10)
    assert upload([b"abc", b"def"], kind, memory) == (UploadedAudio("body", b"abcdef"), 6)
    assert memory.held == 0


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "image/png", "application/x-www-form-urlencoded"]
)
def test_other_types_are_refused_with_a_way_out(kind: str) -> None:
    with pytest.raises(RefusedError, match=f"found '{kind}', allowed are .*curl") as refused:
        upload([b"abc"], kind, UploadMemory(10))
    assert refused.value.status == 415


def test_memory_is_given_back_after_refusals_too() -> None:
    memory = UploadMemory(10)
    memory.take(3)
    with pytest.raises(RefusedError, match="Other uploads hold the 10 bytes") as refused:
        upload([b"abcd", b"efgh"], "audio/wav", memory)
    assert refused.value.status == 503
    assert refused.value.retry_after
    with pytest.raises(RefusedError, match="0 bytes"):
        upload([], "audio/wav", memory)
    assert memory.held == 3


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\a b.wav", "a b.wav"),
        ("/", "file"),
        ("", "file"),
        ("x\ny\x00.wav", "x?y?.wav"),
        ("x" * 999 + ".wav", "x" * 116 + ".wav"),
        ("Größe 音声.wav", "Größe 音声.wav"),
    ],
)
def test_names_are_for_reading_only(name: str, short: str) -> None:
    assert short_name(name) == short
