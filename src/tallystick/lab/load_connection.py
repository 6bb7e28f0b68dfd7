"""One connection of the load generator: just enough HTTP/1.1 for answers that carry a `Content-Length`."""

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tallystick.lab.load import Load

RECONNECT_S = 0.2


class Connection(asyncio.Protocol):
    """One connection, with at most one payment in flight."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.index: int | None = None
        self.buffer = b""
        self._gateway = 0

    async def open(self) -> None:
        """Connect, however often it takes, and go on with the payment in flight if there is one."""
        load = self.load
        while not load.finished.is_set():
            try:
                async with load.connecting:
                    await load.loop.create_connection(lambda: self, load.config.host, load.ports[self._gateway])
            except OSError:
                load.errors += 1
                self._turn_to_the_next()
                await asyncio.sleep(RECONNECT_S)
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports keep the interface but do not inherit it, so an isinstance check would fail.
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = b""
        self.load.connected += 1
        if self.index is not None:
            self.send(self.index)
        else:
            self.go_on()

    def go_on(self) -> None:
        """Take the next payment."""
        index = self.load.next(self)
        if index is not None:
            self.send(index)

    def send(self, index: int) -> None:
        """Send payment `index` now; if the connection is gone, `open` does it."""
        self.index = index
        if self.transport is not None:
            self.load.sending(index)
            self.transport.write(self.load.request(index))

    def again(self, transport: asyncio.Transport | None) -> None:
        """Send the payment in flight once more, unless a new connection has done so since; if there are several
        gateways, to the next one.
        """
        if transport is None or transport is not self.transport or self.index is None:
            return
        if len(self.load.ports) == 1:
            self.send(self.index)
        else:
            self._turn_to_the_next()
            transport.abort()  # which opens another

    def _turn_to_the_next(self) -> None:
        self._gateway = (self._gateway + 1) % len(self.load.ports)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            self.buffer = buffer
            return
        headers = buffer[:head].lower() + b"\r\n"
        at = headers.index(b"\r\ncontent-length:") + 17
        end = head + 4 + int(headers[at : headers.index(b"\r\n", at)])
        if len(buffer) < end:
            self.buffer = buffer
            return
        self.buffer = b""
        index = self.index
        assert index is not None
        replayed = b"\r\nidempotent-replayed: true" in headers
        if self.load.answer(index, int(headers[9:12]), buffer[head + 4 : end], replayed):
            self.index = None
            self.go_on()
        else:
            self.load.loop.call_later(self.load.pause_s(index), self.again, self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.load.connected -= 1
        if not self.load.finished.is_set():
            self.load.errors += 1
            self.load.idle.pop(self, None)
            self.load.loop.create_task(self.open())
