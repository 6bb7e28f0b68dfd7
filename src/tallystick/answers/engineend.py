"""The engine's end of the link to its gateways: one listening Unix socket, a stream for each gateway.

Nothing here is relied on: a lost doorbell or push costs time, since the engine polls its lanes and a gateway asks by
look-up. So nothing blocks: what a gateway does not read waits in memory, bounded, and then its connection is dropped.
Why plain sockets and no messaging library: ADR 0008.
"""

import os
import select
import socket
import threading
from contextlib import suppress

import msgspec

from tallystick.answers import wire
from tallystick.answers.addresses import Address
from tallystick.answers.frames import Frames, frame
from tallystick.errors import Invalid, Unavailable

UNREAD_BYTES_MAX = 67_108_864
"""What waits in memory for a gateway that does not read; beyond that it must connect, and ask, again."""
GATEWAYS_MAX = 1_024
READ_BYTES = 262_144


class _Gateway:
    """One connection."""

    __slots__ = ("frames", "number", "socket", "topics", "unsent")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.number = connected.fileno()
        self.frames = Frames()
        self.topics: set[bytes] = set()
        self.unsent = bytearray()


class EngineEnd:
    """Listens, whose folder only this user can enter.

    `receive` belongs to one thread (the loop); `publish` to whoever writes (ADR 0006); `wake` to any. Two engines on
    one data folder would take the socket from each other: listen only while holding the engine's lock.
    """

    def __init__(self, where: Address) -> None:
        """Raises `Unavailable` if the socket cannot be bound."""
        self.undecodable = 0  # messages dropped by `receive`, for the metrics
        self._where = where
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        try:
            with suppress(FileNotFoundError):
                os.unlink(where.path)  # an earlier engine's
            self._listener.bind(str(where.path))
            self._listener.listen(GATEWAYS_MAX)
        except OSError as error:
            self._listener.close()
            raise Unavailable(f"cannot bind the engine's socket at {where.path}: {error}") from error
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._lock = threading.Lock()  # over what `publish` and `receive` share: these two, and unsent bytes
        self._gateways: dict[int, _Gateway] = {}
        self._topics: dict[bytes, _Gateway] = {}

    def receive(self, timeout_ms: int) -> list[wire.Inbound]:
        """What has come; if nothing has, waits up to `timeout_ms` for the first message or for `wake`.

        Empty after a timeout or a `wake`. What cannot be decoded is counted in `undecodable` and dropped.
        """
        messages: list[wire.Inbound] = []
        for number, events in self._poll.poll(timeout_ms):
            if number == self._woken:
                os.read(self._woken, 4096)
            elif number == self._listener.fileno():
                self._accept()
            else:
                gateway = self._gateways[number]
                if events & select.POLLOUT:
                    self._send_on(gateway)
                if events & ~select.POLLOUT:
                    self._read(gateway, messages)
        return messages

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError:
            return  # gone again, or no file left: it will try again
        connected.setblocking(False)
        gateway = _Gateway(connected)
        self._gateways[gateway.number] = gateway
        self._poll.register(gateway.number, select.POLLIN)

    def _read(self, gateway: _Gateway, messages: list[wire.Inbound]) -> None:
        try:
            data = gateway.socket.recv(READ_BYTES)
            found = gateway.frames.feed(data)
        except BlockingIOError:
            return
        except OSError:
            data, found = b"", []
        except Invalid:
            self.undecodable += 1
            data, found = b"", []
        for one in found:
            try:
                message = wire.decode_sent(one)
            except msgspec.DecodeError:
                self.undecodable += 1
                continue
            if isinstance(message, wire.Subscription):
                with self._lock:
                    gateway.topics.add(message.topic)
                    self._topics[message.topic] = gateway
            else:
                messages.append(message)
        if not data:
            with self._lock:
                self._drop(gateway)

    def _drop(self, gateway: _Gateway) -> None:
        """Forget a connection; under the lock, and in `receive`'s thread only."""
        if self._gateways.pop(gateway.number, None) is None:
            return
        self._poll.unregister(gateway.number)
        for topic in gateway.topics:
            if self._topics.get(topic) is gateway:
                del self._topics[topic]
        gateway.socket.close()

    def _send_on(self, gateway: _Gateway) -> None:
        with self._lock:
            try:
                del gateway.unsent[: gateway.socket.send(gateway.unsent)]
            except BlockingIOError:
                return
            except OSError:
                gateway.unsent.clear()  # its end is told to `_read`
            if not gateway.unsent:
                self._poll.modify(gateway.number, select.POLLIN)

    def wake(self) -> None:
        """Make a waiting `receive` return, or the next one not wait. From any thread; never blocks."""
        with suppress(BlockingIOError):  # the pipe is full of earlier wakes, none of them seen yet
            os.write(self._waker, b"\0")

    def publish(self, topic: bytes, message: wire.Outbound) -> None:
        """Tell whoever subscribed to `topic` (16 bytes). May be lost; never blocks."""
        with self._lock:
            gateway = self._topics.get(topic)
            if gateway is None:
                return
            data = frame(topic + wire.encode(message))
            if gateway.unsent:
                if len(gateway.unsent) + len(data) > UNREAD_BYTES_MAX:
                    gateway.unsent.clear()
                    with suppress(OSError):
                        gateway.socket.shutdown(socket.SHUT_RDWR)  # `receive` sees the end of it
                else:
                    gateway.unsent += data
                return
            try:
                sent = gateway.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # `receive` sees the end of it
            if sent < len(data):
                gateway.unsent += data[sent:]
                self._poll.modify(gateway.number, select.POLLIN | select.POLLOUT)
                self.wake()

    def close(self) -> None:
        """Stop listening. After the loop and the writer have stopped."""
        with self._lock:
            for gateway in list(self._gateways.values()):
                self._drop(gateway)
        self._listener.close()
        with suppress(OSError):
            os.unlink(self._where.path)
        os.close(self._woken)
        os.close(self._waker)
