"""A follower's end of the link to its gateways: one thread that listens, and workers that answer.

The follower's own thread is in none of this, so following never waits for a question. What cannot be answered in time
is not answered at all: what waits in the queue longer than its asker does is dropped, and a queue that is full says so.
"""

import os
import queue
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from tallystick.answers.addresses import Address
from tallystick.answers.frames import Frames, frame
from tallystick.clock import Clock
from tallystick.errors import Invalid, Unavailable
from tallystick.inquiries import wire
from tallystick.inquiries.port import Handler, NotFound
from tallystick.inquiries.wire import Outcome

WORKERS = 2
WAITING_MAX = 256
"""Inquiries that wait for a worker; what comes beyond is told to come again."""
GATEWAYS_MAX = 1_024
UNREAD_BYTES_MAX = 33_554_432
"""What waits in memory for a gateway that does not read; beyond that its connection is dropped."""
READ_BYTES = 262_144
_LATER = "has too much to do just now; try again"


class _Gateway:
    """One connection. Replies are sent by the workers, what does not fit is kept for the listening thread."""

    __slots__ = ("frames", "lock", "number", "socket", "unsent")

    def __init__(self, connected: socket.socket) -> None:
        self.socket: socket.socket | None = connected
        self.number = connected.fileno()
        self.frames = Frames()
        self.lock = threading.Lock()  # over socket and unsent
        self.unsent = bytearray()


class ServerEnd:
    """Listens where only this user can enter. Two followers of one name would take the socket from each other: listen
    only while holding the follower's lock."""

    def __init__(
        self,
        name: str,
        where: Address,
        open_handler: Callable[[], Handler],
        clock: Clock,
        failed: Callable[[BaseException], None],
        workers: int = WORKERS,
    ) -> None:
        """Answers from now on; each worker calls `open_handler` for itself. `failed` hears, on the worker's thread, of
        an error that must end the follower. Raises `Unavailable` if the socket cannot be bound."""
        self.undecodable = 0
        self._name = name
        self._where = where
        self._open_handler = open_handler
        self._clock = clock
        self._failed = failed
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        try:
            with suppress(FileNotFoundError):
                os.unlink(where.path)  # of one that was killed
            self._listener.bind(str(where.path))
            self._listener.listen(GATEWAYS_MAX)
        except OSError as error:
            self._listener.close()
            raise Unavailable(f"cannot bind the {name}'s socket at {where.path}: {error}") from error
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._gateways: dict[int, _Gateway] = {}
        self._stopping = False
        self._waiting: queue.Queue[tuple[_Gateway, wire.Inquiry] | None] = queue.Queue(WAITING_MAX)
        self._threads = [threading.Thread(target=self._listen, name=f"tally-{name}-listen", daemon=True)]
        self._threads += [
            threading.Thread(target=self._work, name=f"tally-{name}-answer-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop listening, let the workers finish what they have at hand, and let go of the socket."""
        self._stopping = True
        self._wake()
        self._threads[0].join()
        for _ in self._threads[1:]:
            with suppress(queue.Full):
                self._waiting.put_nowait(None)
        for thread in self._threads[1:]:
            thread.join()
        for gateway in list(self._gateways.values()):
            self._drop(gateway)
        self._listener.close()
        with suppress(OSError):
            os.unlink(self._where.path)
        os.close(self._woken)
        os.close(self._waker)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, b"\0")

    # The listening thread.

    def _listen(self) -> None:
        while not self._stopping:
            for number, events in self._poll.poll():
                if number == self._woken:
                    os.read(self._woken, 4096)
                    for gateway in self._gateways.values():
                        if gateway.unsent:
                            self._poll.modify(gateway.number, select.POLLIN | select.POLLOUT)
                elif number == self._listener.fileno():
                    self._accept()
                elif (known := self._gateways.get(number)) is not None:
                    if events & select.POLLOUT:
                        self._send_on(known)
                    if events & ~select.POLLOUT:
                        self._read(known)

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError:
            return  # gone again, or no file left: it will try again
        connected.setblocking(False)
        gateway = _Gateway(connected)
        self._gateways[gateway.number] = gateway
        self._poll.register(gateway.number, select.POLLIN)

    def _read(self, gateway: _Gateway) -> None:
        assert gateway.socket is not None
        try:
            data = gateway.socket.recv(READ_BYTES)
            messages = gateway.frames.feed(data)
        except BlockingIOError:
            return
        except OSError:
            data, messages = b"", []
        except Invalid:
            self.undecodable += 1
            data, messages = b"", []
        for message in messages:
            try:
                inquiry = wire.decode_inquiry(message)
            except msgspec.DecodeError:
                self.undecodable += 1
                continue
            try:
                self._waiting.put_nowait((gateway, inquiry))
            except queue.Full:
                self._reply(gateway, inquiry, Outcome.UNAVAILABLE, f"the {self._name} {_LATER}".encode())
        if not data:
            self._drop(gateway)

    def _drop(self, gateway: _Gateway) -> None:
        if self._gateways.pop(gateway.number, None) is None:
            return
        self._poll.unregister(gateway.number)
        with gateway.lock:
            assert gateway.socket is not None
            gateway.socket.close()
            gateway.socket = None
            gateway.unsent.clear()

    def _send_on(self, gateway: _Gateway) -> None:
        with gateway.lock:
            if gateway.socket is None:
                return
            try:
                del gateway.unsent[: gateway.socket.send(gateway.unsent)]
            except BlockingIOError:
                return
            except OSError:
                gateway.unsent.clear()  # its end is told to `_read`
            if not gateway.unsent:
                self._poll.modify(gateway.number, select.POLLIN)

    # The workers.

    def _work(self) -> None:
        handler: Handler | None = None
        try:
            handler = self._open_handler()
            while not self._stopping and (taken := self._waiting.get()) is not None:
                self._answer(handler, *taken)
        except BaseException as error:
            self._failed(error)
        finally:
            if handler is not None:
                handler.close()

    def _answer(self, handler: Handler, gateway: _Gateway, inquiry: wire.Inquiry) -> None:
        left_s = (inquiry.deadline_ns - self._clock.monotonic_ns()) / 1e9
        if left_s <= 0 or gateway.socket is None:
            return
        try:
            outcome, body = Outcome.DONE, handler(inquiry.operation, inquiry.tenant, inquiry.body, left_s)
        except Invalid as error:
            outcome, body = Outcome.INVALID, f"{error.field}\0{error.message}".encode()
        except NotFound as error:
            outcome, body = Outcome.NOT_FOUND, str(error).encode()
        except Unavailable as error:
            outcome, body = Outcome.UNAVAILABLE, str(error).encode()
        self._reply(gateway, inquiry, outcome, body)

    def _reply(self, gateway: _Gateway, inquiry: wire.Inquiry, outcome: Outcome, body: bytes) -> None:
        try:
            data = frame(wire.encode(wire.Reply(inquiry.number, outcome, body)))
        except Invalid:
            told = b"limit\0the answer would be too large; ask for less at once"
            data = frame(wire.encode(wire.Reply(inquiry.number, Outcome.INVALID, told)))
        with gateway.lock:
            if gateway.socket is None:
                return
            if gateway.unsent:
                if len(gateway.unsent) + len(data) > UNREAD_BYTES_MAX:
                    gateway.unsent.clear()
                    with suppress(OSError):
                        gateway.socket.shutdown(socket.SHUT_RDWR)  # `_read` sees the end of it
                else:
                    gateway.unsent += data
                return
            try:
                sent = gateway.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # `_read` sees the end of it
            if sent == len(data):
                return
            gateway.unsent += data[sent:]
        self._wake()
