"""A gateway's end of the link to the engine, on its event loop: rings, listens for pushes, and asks (`EngineLink`).

One stream over the engine's Unix socket, connected again whenever it breaks. Nothing here is relied on: a lost
doorbell or push costs time, since the engine polls its lanes and a question is asked again. Nothing blocks.
"""

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.answers import wire
from tallystick.answers.addresses import Address
from tallystick.answers.frames import Frames, frame
from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RESULT, RequestResults
from tallystick.clock import Entropy
from tallystick.errors import Invalid, Unavailable
from tallystick.records.blocks import LANE_SIZE
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT
from tallystick.statuses import RequestStatus

RECONNECT_S = 0.05
UNSENT_BYTES_MAX = 16_777_216
"""What waits in memory for an engine that does not read; beyond that, messages are dropped."""
READ_BYTES = 262_144
REASK_S = 0.25
"""A question is asked again after this long, twice as long the next time: the engine may have restarted."""
REASK_S_MAX = 2.0

_FOUND_ACCOUNT = np.dtype([("event", ACCOUNT_EVENT), ("extra", FOUND_ACCOUNT_EXTRA)])


class GatewayEnd:
    """Call everything on the event loop, but `ring`."""

    def __init__(
        self,
        where: Address,
        entropy: Entropy,
        on_results: Callable[[bytes, int, bytes], None],
        timeout_s: float = 3.0,
    ) -> None:
        """`on_results(lane, number, rows)` is called on the loop for each push. Call this on the running loop."""
        self.undecodable = 0  # messages dropped, for the metrics
        self.position = 0
        self._where = where
        self._on_results = on_results
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._client = entropy(wire.TOPIC_SIZE)
        self._topics = [self._client]
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[wire.Reply]] = {}
        self._lock = threading.Lock()  # over the three below
        self._socket: socket.socket | None = None  # while it is connected
        self._unsent = bytearray()
        self._closed = False
        self._frames = Frames()
        self._connect()

    def _connect(self) -> None:
        """Connect if the engine listens, and try again if it does not. A local connect never waits."""
        if self._closed:
            return
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.setblocking(False)
        try:
            connected.connect(str(self._where.path))
        except OSError:
            connected.close()
            self._loop.call_later(RECONNECT_S, self._connect)
            return
        self._frames = Frames()
        with self._lock:
            self._socket = connected
            self._unsent.clear()
        self._loop.add_reader(connected, self._readable)
        for topic in self._topics:
            self._send(wire.Subscription(topic))

    def _disconnect(self) -> None:
        with self._lock:
            broken, self._socket = self._socket, None
        if broken is not None:
            self._loop.remove_reader(broken)
            self._loop.remove_writer(broken)
            broken.close()
            self._loop.call_later(RECONNECT_S, self._connect)

    def subscribe(self, topic: bytes) -> None:
        """Hear results of the lane with this id, from shortly after the call on."""
        self._topics.append(topic)
        self._send(wire.Subscription(topic))

    def ring(self, lane: bytes, number: int) -> None:
        """Tell the engine that block `number` of `lane` is durable. May be lost; never blocks. From any thread."""
        self._send(wire.Doorbell(lane, number))

    def _send(self, message: wire.Sent) -> None:
        data = frame(wire.encode(message))
        with self._lock:
            if self._socket is None:
                return  # the engine is away: what it missed it finds in the lanes, and questions are asked again
            if self._unsent:
                if len(self._unsent) + len(data) <= UNSENT_BYTES_MAX:
                    self._unsent += data
                return
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # `_readable` sees the end of it
            if sent == len(data):
                return
            self._unsent += data[sent:]
        self._loop.call_soon_threadsafe(self._want_to_write)

    def _want_to_write(self) -> None:
        if self._socket is not None:
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        with self._lock:
            if self._socket is None:
                return
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()  # `_readable` sees the end of it
            if not self._unsent:
                self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        connected = self._socket
        if connected is None:
            return
        try:
            data = connected.recv(READ_BYTES)
            messages = self._frames.feed(data)
        except BlockingIOError:
            return
        except OSError:
            data, messages = b"", []
        except Invalid:
            self.undecodable += 1
            data, messages = b"", []
        for one in messages:
            self._take(one)
        if not data:
            self._disconnect()

    def _take(self, data: bytes) -> None:
        try:
            message = wire.decode_outbound(data[wire.TOPIC_SIZE :])
        except msgspec.DecodeError:
            self.undecodable += 1
            return
        self.position = max(self.position, message.position)
        if isinstance(message, wire.BlockResults):
            self._on_results(data[: wire.TOPIC_SIZE], message.number, message.rows)
        else:
            future = self._asked.get(message.query)
            if future is not None and not future.done():
                future.set_result(message)

    async def _ask(self, question: Callable[[bytes, int], wire.Question]) -> wire.Reply:
        """The engine's reply; asked again now and then. Raises `Unavailable` if none comes in time."""
        number = next(self._numbers)
        message = question(self._client, number)
        future: asyncio.Future[wire.Reply] = self._loop.create_future()
        self._asked[number] = future
        deadline = self._loop.time() + self._timeout_s
        pause = REASK_S
        try:
            while True:
                self._send(message)
                left = deadline - self._loop.time()
                if left <= 0:
                    raise Unavailable("the engine does not answer; it may be starting. Try again")
                await asyncio.wait([future], timeout=min(pause, left))
                if future.done():
                    return future.result()
                pause = min(2 * pause, REASK_S_MAX)
        finally:
            del self._asked[number]

    async def _shown(self, question: Callable[[bytes, int], wire.Question]) -> wire.Reply:
        """As `_ask`, of what a tenant has; raises `Unavailable` too if the tenant is in another shard by now."""
        reply = await self._ask(question)
        if reply.status == RequestStatus.TENANT_ELSEWHERE:
            raise Unavailable("this tenant is being moved to another shard. Try again")
        return reply

    async def results(self, tenant: int, request_id: int, fingerprint: bytes) -> RequestResults:
        key = request_id.to_bytes(16, "little")
        reply = await self._ask(lambda client, query: wire.ResultsQuery(client, query, tenant, key, fingerprint))
        rows = np.frombuffer(reply.payload, RESULT) if not reply.status else np.empty(0, RESULT)
        return RequestResults(reply.status or None, rows)

    async def accounts(self, tenant: int, ids: list[int]) -> list[tuple[npt.NDArray[np.void], npt.NDArray[np.void]]]:
        packed = wire.pack_ids(ids)
        reply = await self._shown(lambda client, query: wire.AccountsQuery(client, query, tenant, packed))
        found = np.frombuffer(reply.payload, _FOUND_ACCOUNT)
        return [(found["event"][at], found["extra"][at]) for at in range(len(found))]

    async def transfers(self, tenant: int, ids: list[int]) -> npt.NDArray[np.void]:
        packed = wire.pack_ids(ids)
        reply = await self._shown(lambda client, query: wire.TransfersQuery(client, query, tenant, packed))
        return np.frombuffer(reply.payload, TRANSFER_EVENT)

    async def seqs(self, tenant: int, ids: list[int]) -> list[int]:
        packed = wire.pack_ids(ids)
        reply = await self._shown(lambda client, query: wire.SeqsQuery(client, query, tenant, packed))
        return [int(seq) for seq in np.frombuffer(reply.payload, "<u8")]

    async def positions(self) -> dict[bytes, int]:
        reply = await self._ask(wire.PositionsQuery)
        payload = reply.payload
        return {
            payload[at : at + 16]: int.from_bytes(payload[at + 16 : at + LANE_SIZE], "little")
            for at in range(0, len(payload), LANE_SIZE)
        }

    def close(self) -> None:
        """Let go of the socket. Questions still open end as `Unavailable`."""
        if self._closed:
            return
        self._closed = True
        self._disconnect()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(Unavailable("the gateway is closing"))
