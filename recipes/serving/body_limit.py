# SPDX-License-Identifier: Apache-2.0
"""Requests that are too large or too slow are cut off while they come in."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from voxadapt.recipes.serving.refusal import RefusedError, too_large

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# What a sender who is refused may still send, so that it gets to read why: a connection that is
# closed with bytes unread is reset, and its sender sees "connection reset" instead of the answer.
_DRAINED_BYTES = 8_000_000
_DRAIN_SECONDS = 2.0


class BodyLimit:
    """ASGI middleware: counts each request's bytes and its time as they arrive.

    Nothing is kept here; what is too much is read no further.

    Args:
        app: The application.
        most_bytes: Bytes of a file.
        spare_bytes: Bytes that a body may have beside it.
        seconds: Seconds that a body may take to arrive.
    """

    def __init__(
        self, app: Application, *, most_bytes: int, spare_bytes: int, seconds: float
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._spare_bytes = spare_bytes
        self._seconds = seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        most, announced = self._most_bytes + self._spare_bytes, headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > most:
            await _refuse(too_large(self._most_bytes, int(announced)), receive, send)
            return
        body = _LimitedBody(
            receive, most, too_large(self._most_bytes), time.monotonic() + self._seconds
        )
        body.ended = announced == b"0" and b"transfer-encoding" not in headers
        begun = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal begun
            if body.refusal is not None and not begun:
                return
            begun = True
            await _send_and_drain(message, body, receive, send)

        try:
            await self._app(scope, body.receive, send_unless_refused)
        except Exception:
            if body.refusal is None:
                raise
        if body.refusal is not None and not begun:
            await _refuse(body.refusal, receive, send)


class _LimitedBody:
    """Counts what a request brings, and remembers why it was cut off."""

    def __init__(
        self, receive: Receive, most_bytes: int, if_more: RefusedError, deadline: float
    ) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._if_more = if_more
        self._deadline = deadline
        self._count = 0
        self.ended = False
        self.refusal: RefusedError | None = None

    async def receive(self) -> Message:
        """The next message, as ASGI's `receive`."""
        if self.refusal is not None:
            raise self.refusal
        if self.ended:  # all that can come is that the sender goes away, at any time
            return await self._receive()
        try:
            left = max(0.0, self._deadline - time.monotonic())
            message = await asyncio.wait_for(self._receive(), left)
        except asyncio.TimeoutError:
            self.refusal = RefusedError(
                408,
                "too_slow",
                f"body: {self._count:,} bytes came in the time that is allowed (--timeout), and it "
                "was not complete. Send less, or over a faster line.",
            )
            raise self.refusal from None
        self._count += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self._count > self._most_bytes:
            self.refusal = self._if_more
            raise self.refusal
        return message


async def _send_and_drain(
    message: Message, body: _LimitedBody, receive: Receive, send: Send
) -> None:
    """Pass a part of the answer on; where the body was not asked for, its sender may still send."""
    if body.ended:
        await send(message)
    elif message["type"] == "http.response.start":
        await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
    elif message.get("more_body", False):
        await send(message)
    else:
        await send({**message, "more_body": True})
        await _drain(receive)
        await send({"type": "http.response.body", "body": b""})


async def _refuse(refusal: RefusedError, receive: Receive, send: Send) -> None:
    """Send the refusal, read on for a moment, and close the connection."""
    content = json.dumps(refusal.body()).encode()
    headers = {**refusal.headers(), "Content-Type": "application/json", "Connection": "close"}
    headers["Content-Length"] = str(len(content))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    # Who was slow would not be done in a moment either.
    await _drain(receive, _DRAIN_SECONDS if refusal.status == 413 else 0.1)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive, seconds: float = _DRAIN_SECONDS) -> None:
    """Read on for a moment, and throw it away."""
    count, deadline = 0, time.monotonic() + seconds
    while count < _DRAINED_BYTES:
        try:
            message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return
        count += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
