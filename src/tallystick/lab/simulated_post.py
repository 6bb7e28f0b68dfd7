"""The messages of a simulation between gateways and the engine: lost, late and out of order, but never altered.

They are the bytes that the sockets would carry (`answers.wire`). Whatever arrives is a surprise to nobody: a lost
doorbell costs a poll, a lost push costs a question, a lost question or reply costs another one.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from random import Random

import numpy as np
import numpy.typing as npt

from tallystick.answers import wire
from tallystick.answers.port import RESULT, RequestResults
from tallystick.errors import Unavailable
from tallystick.lab.history.calls import SHOWN_ACCOUNT
from tallystick.records.blocks import unpack_positions
from tallystick.records.commands import TRANSFER_EVENT

LOST = 0.1
"""Share of messages that never arrive."""
OVERTAKEN = 0.2
"""Share of deliveries that are not of the oldest message."""
QUESTION_TIMEOUT_S = 1.0

Inbox = deque[tuple[bytes, bytes]]
"""Messages that arrived, each with its topic (empty for the engine's)."""


class Post:
    """All messages on their way on one machine."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._flying: deque[tuple[Inbox | None, bytes, bytes]] = deque()
        self._subscribers: dict[bytes, list[Inbox]] = {}
        self._engine: Inbox | None = None
        self.lost = 0
        self.calm = False
        """Everything arrives, in order."""

    def engine_is(self, inbox: Inbox | None) -> None:
        """From now on the engine hears here; None: it is away, and what comes for it is lost."""
        self._engine = inbox

    def subscribe(self, topic: bytes, inbox: Inbox) -> None:
        """Let what is published under this topic from now on come here."""
        listening = self._subscribers.setdefault(topic, [])
        if not any(each is inbox for each in listening):
            listening.append(inbox)

    def forget(self, inbox: Inbox) -> None:
        """The process that heard here is dead."""
        inbox.clear()
        for topic, listening in list(self._subscribers.items()):
            self._subscribers[topic] = [each for each in listening if each is not inbox]

    def send(self, message: wire.Inbound) -> None:
        """From a gateway to the engine."""
        self._put(None, b"", wire.encode(message))

    def publish(self, topic: bytes, message: wire.Outbound) -> None:
        """From the engine to whoever subscribed."""
        data = wire.encode(message)
        for inbox in self._subscribers.get(topic, ()):
            self._put(inbox, topic, data)

    def _put(self, inbox: Inbox | None, topic: bytes, data: bytes) -> None:
        if not self.calm and self._random.random() < LOST:
            self.lost += 1
        else:
            self._flying.append((inbox, topic, data))

    def deliver(self, count: int) -> int:
        """Let so many messages arrive, if there are; returns how many did."""
        arrived = 0
        while self._flying and arrived < count:
            if not self.calm and self._random.random() < OVERTAKEN:
                self._flying.rotate(-self._random.randrange(len(self._flying)))
            inbox, topic, data = self._flying.popleft()
            inbox = self._engine if inbox is None else inbox
            if inbox is None:
                self.lost += 1
            else:
                inbox.append((topic, data))
            arrived += 1
        return arrived

    def lose_all(self) -> None:
        """The power fails: nothing arrives any more, and nobody listens."""
        self.lost += len(self._flying)
        self._flying.clear()
        self._subscribers.clear()
        self._engine = None


class SimulatedLink:
    """A gateway's end (the `EngineLink` port), without the questions asked again: whoever asked tries another time."""

    def __init__(
        self,
        post: Post,
        loop: asyncio.AbstractEventLoop,
        client: bytes,
        on_results: Callable[[bytes, int, bytes], object],
    ) -> None:
        """`client` is the topic of its replies; `on_results(lane, number, rows)` hears of each push."""
        self.inbox: Inbox = deque()
        self.position = 0
        self._post = post
        self._loop = loop
        self._client = client
        self._on_results = on_results
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[wire.Reply]] = {}
        post.subscribe(client, self.inbox)

    def subscribe(self, topic: bytes) -> None:
        """Hear results of the lane with this id."""
        self._post.subscribe(topic, self.inbox)

    def ring(self, lane: bytes, number: int) -> None:
        """Tell the engine that a block is durable."""
        self._post.send(wire.Doorbell(lane, number))

    def hear(self) -> None:
        """Take what arrived."""
        while self.inbox:
            topic, data = self.inbox.popleft()
            message = wire.decode_outbound(data)
            self.position = max(self.position, message.position)
            if isinstance(message, wire.BlockResults):
                self._on_results(topic, message.number, message.rows)
            elif (future := self._asked.get(message.query)) is not None and not future.done():
                future.set_result(message)

    async def _ask(self, question: Callable[[bytes, int], wire.Inbound]) -> wire.Reply:
        number = next(self._numbers)
        future: asyncio.Future[wire.Reply] = self._loop.create_future()
        self._asked[number] = future
        self._post.send(question(self._client, number))
        timeout = self._loop.call_later(QUESTION_TIMEOUT_S, _give_up, future)
        try:
            return await future
        finally:
            timeout.cancel()
            del self._asked[number]

    async def positions(self) -> dict[bytes, int]:
        """How far lanes are decided, durably. Raises `Unavailable` if no reply comes in time."""
        return unpack_positions((await self._ask(wire.PositionsQuery)).payload)

    async def accounts(self, tenant: int, ids: list[int]) -> list[tuple[npt.NDArray[np.void], npt.NDArray[np.void]]]:
        """Accounts found, each with what we keep beyond. Raises `Unavailable` if no reply comes in time."""
        packed = wire.pack_ids(ids)
        reply = await self._ask(lambda client, query: wire.AccountsQuery(client, query, tenant, packed))
        found = np.frombuffer(reply.payload, SHOWN_ACCOUNT)
        return [(found["event"][at], found["extra"][at]) for at in range(len(found))]

    async def transfers(self, tenant: int, ids: list[int]) -> npt.NDArray[np.void]:
        """Transfers found. Raises `Unavailable` if no reply comes in time."""
        packed = wire.pack_ids(ids)
        reply = await self._ask(lambda client, query: wire.TransfersQuery(client, query, tenant, packed))
        return np.frombuffer(reply.payload, TRANSFER_EVENT)

    async def seqs(self, tenant: int, ids: list[int]) -> list[int]:
        """Where transfers stand. Raises `Unavailable` if no reply comes in time."""
        packed = wire.pack_ids(ids)
        reply = await self._ask(lambda client, query: wire.SeqsQuery(client, query, tenant, packed))
        return [int(seq) for seq in np.frombuffer(reply.payload, "<u8")]

    async def results(self, tenant: int, request_id: int, fingerprint: bytes) -> RequestResults:
        """What is known of a request. Raises `Unavailable` if no reply comes in time."""
        key = request_id.to_bytes(16, "little")
        reply = await self._ask(lambda client, query: wire.ResultsQuery(client, query, tenant, key, fingerprint))
        rows = np.frombuffer(reply.payload, RESULT) if not reply.status else np.empty(0, RESULT)
        return RequestResults(reply.status or None, rows)


def _give_up(future: "asyncio.Future[wire.Reply]") -> None:
    if not future.done():
        future.set_exception(Unavailable("the engine does not answer"))
