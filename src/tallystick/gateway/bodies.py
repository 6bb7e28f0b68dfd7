"""Reading a request's body: never more of it than allowed, never for longer than allowed.

A body with an honest `Content-Length` is read in one go; one in chunks is counted as it comes. Slow senders are cut
off by one timer for all, since a timer for each body would cost more than reading it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from tallystick.gateway.problems import Problem

BODY_S_MAX = 10.0
CHECK_S = 0.5
DISCARDED_BYTES = 8_388_608
"""What is read beyond the limit and thrown away: a client that is cut off while it sends never sees its answer."""


class Stream(Protocol):
    """What is needed of granian's protocol object."""

    async def __call__(self) -> bytes:
        """The whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces."""
        ...


class BodyReader:
    """Reads bodies on one event loop. `bytes_max`: the largest; `seconds_max`: how long one may take to arrive."""

    def __init__(self, bytes_max: int, seconds_max: float = BODY_S_MAX) -> None:
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._loop = asyncio.get_running_loop()
        self._reading: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, stream: Stream, headers: Mapping[str, str]) -> bytes:
        """The body. Raises the problems `length_required`, `body_too_large` and `body_too_slow`."""
        length = headers.get("content-length")
        if length is None:
            if "transfer-encoding" not in headers:
                raise Problem("length_required", "send Content-Length, or Transfer-Encoding: chunked")
        # Its digits the server has checked: a request with any other `Content-Length` never comes here.
        elif len(length) > 18 or int(length) > self._bytes_max + DISCARDED_BYTES:
            raise self._too_large()
        in_pieces = length is None or int(length) > self._bytes_max
        task = asyncio.current_task(self._loop)  # without the loop it asks the system for the process's id
        assert task is not None
        self._reading[task] = self._loop.time() + self._seconds_max
        if self._timer is None:
            self._timer = self._loop.call_later(min(CHECK_S, self._seconds_max), self._check)
        try:
            if in_pieces:
                return await self._pieces(stream)
            return await stream()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            detail = f"the body must arrive within {self._seconds_max:g} s"
            raise Problem("body_too_slow", detail, {"connection": "close"}) from None
        finally:
            del self._reading[task]
            if self._late:
                self._late.discard(task)

    async def _pieces(self, stream: Stream) -> bytes:
        pieces = bytearray()
        size = 0
        async for piece in stream:
            size += len(piece)
            if size <= self._bytes_max:
                pieces += piece
            elif size > self._bytes_max + DISCARDED_BYTES:
                break
        if size > self._bytes_max:
            raise self._too_large()
        return bytes(pieces)

    def _too_large(self) -> Problem:
        detail = f"the body may have {self._bytes_max:,} bytes"
        return Problem("body_too_large", detail, {"connection": "close"}, limit_bytes=self._bytes_max)

    def _check(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for task, deadline_s in self._reading.items():  # in order of deadline
            if deadline_s > now_s:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._reading:
            self._timer = self._loop.call_later(min(CHECK_S, self._seconds_max), self._check)
