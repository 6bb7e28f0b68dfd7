"""The messages of `wire` over ZeroMQ on local sockets: the engine's end and a gateway's end.

Two pairs: PUSH → PULL towards the engine, PUB → SUB back. Nothing here is relied on: a lost doorbell or push costs
time, since the engine polls its lanes and a gateway asks by look-up. So every send is non-blocking and may be
dropped, and no end ever waits for the other.
"""

import asyncio
import itertools
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import zmq

from tallystick.answers import wire
from tallystick.answers.addresses import Addresses
from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RESULT, RequestResults
from tallystick.clock import Entropy
from tallystick.errors import Unavailable
from tallystick.records.blocks import LANE_SIZE
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT

MESSAGES_QUEUED_MAX = 100_000
"""Messages that wait in one socket for a slow peer; further ones are dropped."""
DRAIN_MAX = 4096
"""Messages taken by one `receive`, so that a flood of questions cannot keep the engine from deciding."""
MESSAGE_BYTES_MAX = 4_194_304
REASK_S = 0.25
"""A question is asked again after this long, twice as long the next time: the engine may have restarted."""
REASK_S_MAX = 2.0

_FOUND_ACCOUNT = np.dtype([("event", ACCOUNT_EVENT), ("extra", FOUND_ACCOUNT_EXTRA)])
_EVENTS, _READABLE = int(zmq.EVENTS), int(zmq.POLLIN)  # as plain numbers: enums take three times as long
_Question = TypeVar("_Question", bound=wire.Inbound)


def _has_message(socket: "zmq.Socket[bytes]") -> bool:
    return bool(int(socket.get(_EVENTS)) & _READABLE)


class EngineEnd:
    """The engine's end: binds both sockets, whose folder only this user can enter.

    `receive` belongs to one thread (the loop); `publish` to whoever writes, one at a time (ADR 0006); `wake`
    to any. Two engines on one data folder would take the sockets from each other: bind only while holding the
    engine's lock.
    """

    def __init__(self, where: Addresses) -> None:
        """Raises `Unavailable` if the sockets cannot be bound."""
        self.undecodable = 0  # messages dropped by `receive`, for the metrics
        self._context = zmq.Context()
        self._inbound = self._context.socket(zmq.PULL)
        self._outbound = self._context.socket(zmq.PUB)
        self._inbound.set(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        self._inbound.set(zmq.RCVHWM, MESSAGES_QUEUED_MAX)
        self._outbound.set(zmq.SNDHWM, MESSAGES_QUEUED_MAX)
        self._outbound.set(zmq.LINGER, 0)
        try:
            self._inbound.bind(where.inbound)
            self._outbound.bind(where.outbound)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise Unavailable(f"cannot bind the engine's sockets at {where.inbound}: {error}") from error
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._poller = zmq.Poller()
        self._poller.register(self._inbound, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)

    def receive(self, timeout_ms: int) -> list[wire.Inbound]:
        """All messages that wait, at most 4,096; if none does, waits up to `timeout_ms` for the first or for `wake`.

        Empty after a timeout or a `wake`. What cannot be decoded is counted in `undecodable` and dropped.
        """
        messages = self._drain()
        if messages or timeout_ms <= 0:
            return messages
        ready = dict(self._poller.poll(timeout_ms))
        if self._woken in ready:
            os.read(self._woken, 4096)
        return self._drain()

    def _drain(self) -> list[wire.Inbound]:
        messages: list[wire.Inbound] = []
        # Asked first, since an exception for "nothing" costs more than the question.
        for _ in range(DRAIN_MAX):
            if not _has_message(self._inbound):
                break
            data = self._inbound.recv(zmq.NOBLOCK)
            try:
                messages.append(wire.decode_inbound(data))
            except msgspec.DecodeError:
                self.undecodable += 1
        return messages

    def wake(self) -> None:
        """Make a waiting `receive` return, or the next one not wait. From any thread; never blocks."""
        try:
            os.write(self._waker, b"\0")
        except BlockingIOError:
            return  # the pipe is full of earlier wakes, none of them seen yet

    def publish(self, topic: bytes, message: wire.Outbound) -> None:
        """Tell whoever subscribed to `topic` (16 bytes). May be lost; never blocks. One thread at a time."""
        self._outbound.send(topic + wire.encode(message), zmq.NOBLOCK)

    def close(self) -> None:
        """Unbind. After the loop and the writer have stopped."""
        self._inbound.close(linger=0)
        self._outbound.close(linger=0)
        self._context.term()
        os.close(self._woken)
        os.close(self._waker)


class GatewayEnd:
    """A gateway's end, on its event loop: rings, listens for pushes, and asks (the `EngineLink` port).

    It reads its socket when the loop says that it is readable; nothing polls. A doorbell and its push, one at a time,
    cost this thread 30 µs of CPU so, and 74 µs through `zmq.asyncio`, under uvloop on a busy 2-core machine.
    """

    def __init__(
        self,
        where: Addresses,
        entropy: Entropy,
        on_results: Callable[[bytes, int, bytes], None],
        timeout_s: float = 3.0,
    ) -> None:
        """`on_results(lane, number, rows)` is called on the loop for each push. Call this on the running loop."""
        self.undecodable = 0  # messages dropped, for the metrics
        self._on_results = on_results
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._client = entropy(wire.TOPIC_SIZE)
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[wire.Reply]] = {}
        self._context = zmq.Context()
        self._outbound = self._context.socket(zmq.PUSH)
        self._inbound = self._context.socket(zmq.SUB)
        # No queue for an engine that is away: what it missed it finds in the lanes, and questions are asked again.
        self._outbound.set(zmq.IMMEDIATE, 1)
        self._outbound.set(zmq.SNDHWM, MESSAGES_QUEUED_MAX)
        self._inbound.set(zmq.RCVHWM, MESSAGES_QUEUED_MAX)
        for socket in (self._outbound, self._inbound):
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RECONNECT_IVL, 50)
        self._sending = threading.Lock()
        self._outbound.connect(where.inbound)
        self._inbound.connect(where.outbound)
        self._descriptor = int(self._inbound.get(zmq.FD))
        self._loop.add_reader(self._descriptor, self._readable)
        self.subscribe(self._client)

    def subscribe(self, topic: bytes) -> None:
        """Hear results of the lane with this id, from shortly after the call on."""
        self._inbound.set(zmq.SUBSCRIBE, topic)
        # ZeroMQ's descriptor signals an edge, which the call above may have consumed.
        self._loop.call_soon(self._readable)

    def ring(self, lane: bytes, number: int) -> None:
        """Tell the engine that block `number` of `lane` is durable. May be lost; never blocks. From any thread."""
        self._send(wire.Doorbell(lane, number))

    def _send(self, message: wire.Inbound) -> None:
        data = wire.encode(message)
        with self._sending:
            if self._outbound.closed:
                return
            try:
                self._outbound.send(data, zmq.NOBLOCK)
            except zmq.Again:
                return  # the engine is away: see `IMMEDIATE` above

    def _readable(self) -> None:
        if self._inbound.closed:
            return
        for _ in range(DRAIN_MAX):
            # Asked until the answer is no, since the descriptor signals edges only. An exception would cost more.
            if not _has_message(self._inbound):
                return
            data = self._inbound.recv(zmq.NOBLOCK)
            try:
                message = wire.decode_outbound(data[wire.TOPIC_SIZE :])
            except msgspec.DecodeError:
                self.undecodable += 1
                continue
            if isinstance(message, wire.BlockResults):
                self._on_results(data[: wire.TOPIC_SIZE], message.number, message.rows)
            else:
                future = self._asked.get(message.query)
                if future is not None and not future.done():
                    future.set_result(message)
        self._loop.call_soon(self._readable)

    async def _ask(self, question: Callable[[bytes, int], wire.Inbound]) -> wire.Reply:
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

    async def results(self, tenant: int, request_id: int, fingerprint: bytes) -> RequestResults:
        key = request_id.to_bytes(16, "little")
        reply = await self._ask(lambda client, query: wire.ResultsQuery(client, query, tenant, key, fingerprint))
        rows = np.frombuffer(reply.payload, RESULT) if not reply.status else np.empty(0, RESULT)
        return RequestResults(reply.status or None, rows)

    async def accounts(self, tenant: int, ids: list[int]) -> list[tuple[npt.NDArray[np.void], npt.NDArray[np.void]]]:
        packed = wire.pack_ids(ids)
        reply = await self._ask(lambda client, query: wire.AccountsQuery(client, query, tenant, packed))
        found = np.frombuffer(reply.payload, _FOUND_ACCOUNT)
        return [(found["event"][at], found["extra"][at]) for at in range(len(found))]

    async def transfers(self, tenant: int, ids: list[int]) -> npt.NDArray[np.void]:
        packed = wire.pack_ids(ids)
        reply = await self._ask(lambda client, query: wire.TransfersQuery(client, query, tenant, packed))
        return np.frombuffer(reply.payload, TRANSFER_EVENT)

    async def positions(self) -> dict[bytes, int]:
        reply = await self._ask(wire.PositionsQuery)
        payload = reply.payload
        return {
            payload[at : at + 16]: int.from_bytes(payload[at + 16 : at + LANE_SIZE], "little")
            for at in range(0, len(payload), LANE_SIZE)
        }

    def close(self) -> None:
        """Let go of the sockets. Questions still open end as `Unavailable`."""
        if self._inbound.closed:
            return
        self._loop.remove_reader(self._descriptor)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(Unavailable("the gateway is closing"))
        self._inbound.close(linger=0)
        with self._sending:
            self._outbound.close(linger=0)
        self._context.term()
