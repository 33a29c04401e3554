# SPDX-License-Identifier: Apache-2.0
"""What is too large or too slow is cut off as it comes in."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from voxadapt.recipes.serving.body_limit import BodyLimit

LIMIT, SPARE = 1_000, 100


class Application:
    """Reads the whole body, and answers with its length; or fails in ways that others do."""

    def __init__(self, answers_errors: bool = False) -> None:
        self.called = False
        self.read = 0
        self._answers_errors = answers_errors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called = True
        try:
            while True:
                message = await receive()
                self.read += len(message["body"])
                if not message["more_body"]:
                    break
            status, body = 200, str(self.read).encode()
        except Exception:
            if not self._answers_errors:
                raise
            status, body = 500, b"as if it were our fault"
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


def ask(
    chunks: list[bytes],
    headers: dict[str, str] | None = None,
    app: Application | None = None,
    *,
    hangs: bool = False,
    seconds: float = 5.0,
) -> tuple[int, Any, Application, int]:
    """Status, JSON, the application, and how many chunks were taken from the sender."""
    app = app or Application()
    taken = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == len(chunks) and hangs:
            await asyncio.sleep(60)
        if taken == len(chunks):
            return {"type": "http.disconnect"}
        taken += 1
        more = taken < len(chunks) or hangs
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": more}

    async def send(message: Any) -> None:
        sent.append(message)

    if headers is None:
        headers = {"transfer-encoding": "chunked"} if chunks != [b""] else {}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    limited = BodyLimit(app, most_bytes=LIMIT, spare_bytes=SPARE, seconds=seconds)
    asyncio.run(limited({"type": "http", "headers": raw}, receive, send))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    assert not sent[-1].get("more_body", False)
    body = b"".join(message.get("body", b"") for message in sent)
    return starts[0]["status"], json.loads(body), app, taken


def test_what_is_allowed_passes_as_it_is() -> None:
    status, count, _, taken = ask([b"x" * 500, b"x" * 600], {"content-length": "1100"})
    assert (status, count, taken) == (200, 1_100, 2)


def test_a_length_that_is_announced_is_refused_before_anything_is_read_by_the_application() -> None:
    status, body, app, _ = ask([b"x" * 1_101], {"content-length": "1101"})
    assert status == 413
    assert body["error"]["code"] == "too_large"
    assert "found 1,101 bytes, allowed are 1,000 bytes" in body["error"]["message"]
    assert not app.called


def cut_off(app: Application) -> Application:
    status, body, app, taken = ask([b"x" * 200] * 10_000, app=app)
    assert status == 413
    assert "allowed are 1,000 bytes" in body["error"]["message"]
    assert app.read <= LIMIT + SPARE
    assert taken < 10_000 or 200 * taken < 10_000_000
    return app


def test_a_stream_is_cut_off_whatever_the_application_makes_of_it() -> None:
    cut_off(Application())
    cut_off(Application(answers_errors=True))


def test_of_an_endless_stream_only_so_much_is_read_to_let_the_sender_read_the_answer() -> None:
    status, _, _, taken = ask([b"x" * 100_000] * 10_000)
    assert status == 413
    assert taken * 100_000 < 20_000_000


def test_a_body_that_stops_coming_is_refused_in_time() -> None:
    for answers_errors in (False, True):
        status, body, _, _ = ask(
            [b"x" * 7], hangs=True, seconds=0.05, app=Application(answers_errors)
        )
        assert status == 408
        assert body["error"]["code"] == "too_slow"
        assert "7 bytes" in body["error"]["message"]


def test_a_body_that_nobody_asked_for_is_read_for_a_moment_and_cut_off() -> None:
    class Deaf(Application):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"0"})

    status, _, _, taken = ask([b"x" * 100_000] * 10_000, {"transfer-encoding": "chunked"}, Deaf())
    assert status == 404
    assert taken * 100_000 < 20_000_000
    _, _, _, taken = ask([b"x" * 7] * 3, {"content-length": "21"}, Deaf())
    assert taken == 3
    _, _, _, taken = ask([b""], app=Deaf())  # there is none
    assert taken == 0


def test_errors_of_the_application_are_its_own() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("ours")

    limited = BodyLimit(fails, most_bytes=1, spare_bytes=0, seconds=1)
    with pytest.raises(KeyError, match="ours"):
        asyncio.run(limited({"type": "http", "headers": []}, _nothing, _nothing))


def test_other_connections_are_none_of_its_business() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        seen.extend((receive, send))

    limited = BodyLimit(app, most_bytes=1, spare_bytes=0, seconds=1)
    asyncio.run(limited({"type": "lifespan"}, _nothing, _nothing))
    assert seen == [_nothing, _nothing]


async def _nothing(*_: Any) -> Any:
    return None
