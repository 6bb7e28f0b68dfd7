"""Who waits for an answer in process: a thread, or a coroutine. Knows nothing of the engine."""

import asyncio
import contextlib
import threading
from typing import Any, Protocol


class Waiter(Protocol):
    """Someone who waits for rows, or for what a look-up gives."""

    def settle(self, value: Any) -> None:
        """Wake with a value, or with an exception to raise. Called by the engine's threads."""
        ...


class ThreadWaiter:
    """A thread that waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._value: Any = None

    def settle(self, value: Any) -> None:
        self._value = value
        self._lock.release()

    def wait(self) -> Any:
        """The value; raises it if it is an exception."""
        self._lock.acquire()
        if isinstance(self._value, BaseException):
            raise self._value
        return self._value


class CoroutineWaiter:
    """A coroutine that waits, in an event loop of its own thread."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def settle(self, value: Any) -> None:
        settle_all(self.loop, [(self.future, value)])


def settle_all(loop: asyncio.AbstractEventLoop, settled: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Wake many coroutines of one loop by one call across threads."""

    def settle() -> None:
        for future, value in settled:
            if future.cancelled():
                continue
            if isinstance(value, BaseException):
                future.set_exception(value)
            else:
                future.set_result(value)

    with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
        loop.call_soon_threadsafe(settle)
