# SPDX-License-Identifier: Apache-2.0
"""A request that is not answered, and what its sender is told."""

from typing import Any


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: HTTP status: 4xx where the request has to change, 503 where it may come again.
        code: A short name for programs, such as `too_long`.
        message: What was found, what is allowed, what to do.
        retry_after: Seconds after which the same request may come again.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The JSON that is sent."""
        return {"error": {"code": self.code, "message": self.message}}

    def headers(self) -> dict[str, str]:
        """The headers that are sent with it."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def too_large(limit: int, found: int | None = None) -> RefusedError:
    """A request of too many bytes.

    Args:
        limit: Bytes allowed.
        found: Bytes that it announces; None where they were counted until there were too many.
    """
    told = "more" if found is None else f"{found:,} bytes"
    return RefusedError(
        413,
        "too_large",
        f"body: found {told}, allowed are {limit:,} bytes (--max-megabytes). Send a shorter or a "
        "compressed file (FLAC, OGG or MP3).",
    )
