"""The sockets that new connections come in by.

uvloop takes one connection a turn of its loop (libuv since 1.45), and under load a turn is a thousand payments long: of
thousands that come at once the last would wait for seconds, while the first are served again and again. Here all that
wait are taken in one turn.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog

from tallystick.gateway.connections import CONNECTIONS_MAX

LISTENERS = 4
"""Sockets of one port. The kernel keeps `net.core.somaxconn` (4,096) connections for each until they are taken; whoever
comes when that is full is dropped, and tries again after one second, then after two, then four."""
TAKEN_A_TURN_MAX = 1024
"""Connections of one socket; then those that are in get their turn."""
PAUSE_S = 1.0
"""After the system refused a connection, as asyncio does."""
_log = structlog.get_logger("tallystick.gateway.listening")


class Listeners:
    """All sockets of one port, on the running loop."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._sockets: list[socket.socket] = []
        self._joining: set[asyncio.Task[object]] = set()

    def open(self, host: str, port: int) -> int:
        """Listen on every address of `host`; returns the port, found if `port` is 0. Raises `OSError`."""
        for family, *_, address in sorted(set(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))):
            # Sockets of one port would share it with another gateway's too: one that shares nothing is first.
            with socket.create_server((address[0], port), family=family) as alone:
                port = int(alone.getsockname()[1])
            for _ in range(LISTENERS):
                listener = socket.create_server(
                    (address[0], port), family=family, backlog=CONNECTIONS_MAX, reuse_port=True
                )
                listener.setblocking(False)
                self._sockets.append(listener)
                self._loop.add_reader(listener, self._take, listener)
        return port

    def _take(self, listener: socket.socket) -> None:
        for _ in range(TAKEN_A_TURN_MAX):
            try:
                taken, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors or memory: those who wait go on waiting
                _log.error("a connection cannot be taken", error=str(error))
                self._loop.remove_reader(listener)
                self._loop.call_later(PAUSE_S, self._go_on, listener)
                return
            taken.setblocking(False)
            joining = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, taken))
            self._joining.add(joining)
            joining.add_done_callback(self._joined)

    def _joined(self, joining: "asyncio.Task[object]") -> None:
        self._joining.discard(joining)
        if not joining.cancelled() and (error := joining.exception()) is not None:
            _log.warning("a connection was lost while it was taken", error=str(error))

    def _go_on(self, listener: socket.socket) -> None:
        if listener in self._sockets:
            self._loop.add_reader(listener, self._take, listener)

    def close(self) -> None:
        """Take no more."""
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self._sockets.clear()
