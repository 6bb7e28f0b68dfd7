"""A gateway's end of the link to one follower, on its event loop. Each question waits for a bounded time, and no more.

Nothing of it is on the way of a payment: no thread, no lock, and a follower that does not read its socket fills no more
memory than `UNSENT_BYTES_MAX`.
"""

import asyncio
import itertools
import socket
from collections import Counter

import msgspec

from tallystick.answers.addresses import Address
from tallystick.answers.frames import Frames, frame
from tallystick.clock import Clock
from tallystick.errors import Invalid, Unavailable
from tallystick.inquiries import wire

TIMEOUT_S = 3.0
"""How long an answer is waited for. Longer than a follower may wait for a position that the asker names."""
UNSENT_BYTES_MAX = 4_194_304
ASKED_MAX = 32
"""Questions of one tenant at once; more would make the other tenants' wait."""
READ_BYTES = 262_144


class InquiryEnd:
    """Call everything on the event loop."""

    def __init__(self, name: str, where: Address, clock: Clock, timeout_s: float = TIMEOUT_S) -> None:
        """Connects when first asked. Call this on the running loop."""
        self._name = name
        self._where = where
        self._clock = clock
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[wire.Reply]] = {}
        self._of_tenant: Counter[int] = Counter()
        self._socket: socket.socket | None = None
        self._frames = Frames()
        self._unsent = bytearray()

    async def ask(self, operation: str, tenant: int, body: bytes) -> bytes:
        """See `Inquiries.ask`."""
        if self._of_tenant[tenant] >= ASKED_MAX:
            raise Unavailable(f"{ASKED_MAX} questions of this tenant wait for the {self._name}; ask fewer at once")
        number = next(self._numbers)
        future: asyncio.Future[wire.Reply] = self._loop.create_future()
        deadline_ns = self._clock.monotonic_ns() + round(self._timeout_s * 1e9)
        self._of_tenant[tenant] += 1
        self._asked[number] = future
        try:
            self._send(frame(wire.encode(wire.Inquiry(number, operation, tenant, deadline_ns, body))))
            async with asyncio.timeout(self._timeout_s):
                return wire.answered(await future)
        except TimeoutError as error:
            raise Unavailable(f"the {self._name} does not answer; try again later") from error
        finally:
            del self._asked[number]
            self._of_tenant[tenant] -= 1
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]

    def _send(self, data: bytes) -> None:
        connected = self._socket or self._connect()
        if self._unsent:
            if len(self._unsent) + len(data) > UNSENT_BYTES_MAX:
                raise Unavailable(f"the {self._name} does not take questions; try again later")
            self._unsent += data
            return
        try:
            sent = connected.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._disconnect()  # which tells everybody who waits, this one included
            return
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.add_writer(connected, self._writable)

    def _connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.setblocking(False)
        try:
            connected.connect(str(self._where.path))  # a local connect never waits
        except OSError as error:
            connected.close()
            raise self._away() from error
        self._socket, self._frames = connected, Frames()
        self._loop.add_reader(connected, self._readable)
        return connected

    def _away(self) -> Unavailable:
        return Unavailable(f"the {self._name} does not run just now; try again later")

    def _disconnect(self) -> None:
        broken, self._socket = self._socket, None
        self._unsent.clear()
        if broken is not None:
            self._loop.remove_reader(broken)
            self._loop.remove_writer(broken)
            broken.close()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(self._away())

    def _writable(self) -> None:
        if self._socket is None:
            return
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            return  # `_readable` sees the end of it
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
            replies = [wire.decode_reply(message) for message in self._frames.feed(data)]
        except BlockingIOError:
            return
        except (OSError, Invalid, msgspec.DecodeError):
            data, replies = b"", []
        for reply in replies:
            future = self._asked.get(reply.number)
            if future is not None and not future.done():
                future.set_result(reply)
        if not data:
            self._disconnect()

    def close(self) -> None:
        """Let go of the socket. Questions still open end as `Unavailable`."""
        self._disconnect()
