"""The intake on RabbitMQ: one message is one command block, a quorum queue is a lane (DESIGN §6).

A block is acknowledged to the broker, which then forgets it, only after the journal has it (`done`); it is never given
back. What the engine was sent and did not acknowledge comes again after a restart, and positions say what of it is
decided. Each queue has one active consumer; but an engine that stands still stays that until its heartbeats are missed,
so the fence is the journal's epoch. How lanes are opened and numbered: intake/rabbitmq_lanes.py.
"""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from tallystick.brokers import rabbitmq as session
from tallystick.brokers.address import Address
from tallystick.clock import Clock, Entropy
from tallystick.errors import Corrupt, Unavailable
from tallystick.intake import rabbitmq_lanes as lanes
from tallystick.intake import rabbitmq_queues as queues
from tallystick.intake.port import LaneId
from tallystick.intake.turns import Turns
from tallystick.records.blocks import CommandBlock, parse

UNDECIDED_MAX = 100
"""Blocks of a lane that wait here to be decided; more stay with the broker."""
BEAT_S = 1.0
LOOK_EVERY_NS = 500_000_000
BACK_OFF_NS = 100_000_000
BACK_OFF_NS_MAX = 1_000_000_000
MISSING_S = 5.0
"""How long a lane may be missing in the register before it counts as gone: a reader that died gives back late."""
SETTLE_NS = 2_000_000_000
GAP_NS = 20_000_000_000
COMING_S = 0.02
"""How long what a new consumer is sent at once may take."""
RETURN_NS = 100_000_000
"""After a takeover, what the dead consumer had comes some milliseconds later than what is new."""
_log = structlog.get_logger("tallystick.intake.rabbitmq")


@dataclass(slots=True)
class _Held:
    """A block that is not acknowledged. `came_before`: a consumer was given it already."""

    number: int
    block: CommandBlock | None
    """None of those decided long ago, of which there is no end."""
    tag: int
    came_before: bool


def _number(held: _Held) -> int:
    return held.number


class _LaneReader:
    """What came of one lane in this session and is not acknowledged, by number.

    When a consumer dies, what it had comes again, and what is new may come before that. So blocks are put in their
    places, and given only as far as none is missing. Where a new term begins nobody can see whether one is: there a
    moment is waited for what a dead consumer had.

    What is decided may stay unacknowledged without end: requests that are repeated make no block of the journal. So the
    broker's limit counts for what one consumer got, and when all of that is decided, another consumer takes over.
    """

    def __init__(self, id: LaneId, control: bool, queue: str, shard: int, clock: Clock) -> None:
        self.id = id
        self.control = control
        self.queue = queue
        self.channel: BlockingChannel | None = None
        self.cancelled = False
        self.last = 0  # the highest number that arrived, in any session
        self._shard = shard
        self._clock = clock
        self._consumer = ""
        self._earlier = 0  # how many of those held came by consumers before this one
        self._held: list[_Held] = []
        self._began_ns = 0  # when the first block of this session came
        self._from = 0
        self._upto = 0
        self._gap_ns: int | None = None

    def consume(self, connection: BlockingConnection) -> None:
        """Begin anew in this session: the broker sends all that is not acknowledged."""
        if self.channel is not None and self.channel.is_open:
            self.channel.close()  # what it had comes again
        self._held.clear()
        self._from = self._upto = self._earlier = 0
        self._began_ns = 0
        self.cancelled = False
        self.channel = connection.channel()
        self.channel.add_on_cancel_callback(self._on_cancel)
        self.channel.basic_qos(prefetch_count=UNDECIDED_MAX)
        self._consumer = self.channel.basic_consume(self.queue, self._arrived)

    def _on_cancel(self, frame: Any) -> None:
        self.cancelled = True

    @property
    def full(self) -> bool:
        """Whether the broker sends no more before some is acknowledged."""
        return len(self._held) - self._earlier >= UNDECIDED_MAX

    def let_more_come(self) -> bool:
        """If the broker waits until the journal has what is decided, consume anew; what is held stays ours."""
        if self.channel is None or not self.full or self._from < len(self._held):
            return False
        self.channel.basic_cancel(self._consumer)
        self._earlier = len(self._held)
        for held in self._held:
            held.block = None
        self._consumer = self.channel.basic_consume(self.queue, self._arrived)
        return True

    def _arrived(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        block = parse(body)
        if not isinstance(block, CommandBlock) or block.header.lane != self.id or block.header.shard != self._shard:
            raise Corrupt(f"{self.queue} holds what is no block of lane {self.id.hex()}")
        self._began_ns = self._began_ns or self._clock.monotonic_ns()
        number = block.header.first
        at = bisect_left(self._held, number, key=_number)
        if at < len(self._held) and _number(self._held[at]) == number:
            raise Corrupt(f"{self.queue} holds two blocks {number}")
        self._held.insert(at, _Held(number, block, method.delivery_tag, method.redelivered))
        self.last = max(self.last, number)

    def seek(self, position: int) -> None:
        """Let `block(0)` be the one after `position`. Raises `Corrupt` where the lane contradicts it."""
        if position > self.last and any(not held.came_before for held in self._held):
            raise Corrupt(
                f"lane {self.id.hex()} is journaled up to block {position}, but blocks up to {self.last} come for the "
                "first time: it lost what it had, or the journal is another's"
            )
        self._from = bisect_right(self._held, position, key=_number)
        if self._from < self._earlier:  # back to what was decided
            self.cancelled = True
        at, before = self._from, position
        while at < len(self._held) and self._may_follow(_number(self._held[at]), before):
            before = _number(self._held[at])
            at += 1
        self._upto = at
        self._watch_gap(before)

    def _may_follow(self, number: int, before: int) -> bool:
        if number == before + 1:
            return True
        settled = self._clock.monotonic_ns() - self._began_ns > SETTLE_NS
        return settled and lanes.follows(number, before)

    def _watch_gap(self, before: int) -> None:
        if self._upto == len(self._held):
            self._gap_ns = None
            return
        now = self._clock.monotonic_ns()
        self._gap_ns = self._gap_ns or now
        if now - self._gap_ns > GAP_NS:
            raise Corrupt(f"{self.queue}: after block {before} comes {_number(self._held[self._upto])}")

    @property
    def lacks_a_moment(self) -> bool:
        """Whether a block is missing since so short a time that it is likely on its way."""
        return self._gap_ns is not None and self._clock.monotonic_ns() - self._gap_ns < RETURN_NS

    def block(self, index: int) -> CommandBlock | None:
        at = self._from + index
        return self._held[at].block if at < self._upto else None

    def acknowledge(self, position: int) -> None:
        """The journal has all up to `position`."""
        count = bisect_right(self._held, position, key=_number)
        if not count or self.channel is None:
            return
        tags = [held.tag for held in self._held[:count]]
        left = min((held.tag for held in self._held[count:]), default=max(tags) + 1)
        del self._held[:count]
        self._from, self._upto = max(self._from - count, 0), max(self._upto - count, 0)
        self._earlier = max(self._earlier - count, 0)
        if max(tags) < left:
            self.channel.basic_ack(max(tags), multiple=True)
        else:  # they came out of order: one word for all would take others with it
            for tag in tags:
                self.channel.basic_ack(tag)


class RabbitIntake:
    """All lanes of a shard on one broker: a gateway opens them, the engine receives. Not for concurrent calls."""

    def __init__(
        self, address: Address, clock: Clock, entropy: Entropy, shard: int = 0, settle_s: float = queues.SETTLE_S
    ) -> None:
        """`settle_s`: how old a queue must be before anything is acknowledged in it. Raises `Unavailable` if no broker
        answers, `Invalid` that names what of a queue could lose blocks.
        """
        self._address = address
        self._clock = clock
        self._entropy = entropy
        self._shard = shard
        self._names = lanes.Names(address, shard)
        self._settle_s = settle_s
        self._doubted: dict[bool, LaneId] = {}
        self._open: list[lanes.RabbitLane] = []
        self._stopping = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lane-heartbeats", daemon=True)
        self._connection: BlockingConnection | None = None
        self._control: BlockingChannel | None = None
        self._readers: dict[LaneId, _LaneReader] = {}
        self._turns = Turns()
        self._look_at_ns = 0
        self._retry_at_ns = 0
        self._pause_ns = BACK_OFF_NS
        connection = session.connect(address)
        with session.translated(address):
            there = queues.exists(connection, self._names.register)
            queues.declare(address, connection, self._names.register, queues.QUEUE_ARGUMENTS)
            connection.sleep(0 if there else settle_s)
            connection.close()
        _log.info("policies were not checked: none of the broker's may match these queues", queues=f"{address.name}-*")

    def open_lane(self, control: bool) -> lanes.RabbitLane:
        self._doubted |= {lane.control: lane.id for lane in self._open if lane.in_doubt}
        avoid = self._doubted.get(control)  # next time another one, if the queue itself is the trouble
        lane = lanes.open_lane(
            self._address, self._names, control, self._shard, self._clock, self._entropy(16), avoid, self._settle_s
        )
        self._open = [*(one for one in self._open if one.is_open), lane]
        if self._beating.ident is None:
            self._beating.start()
        return lane

    def _beat(self) -> None:
        while not self._stopping.wait(BEAT_S):
            for lane in self._open:
                lane.beat()

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        try:
            connection = self._connected()
            if connection is None:
                return []
            connection.process_data_events(0)
            self._look(connection, positions)
            self._seek(positions)
            if [reader for reader in self._readers.values() if reader.let_more_come()]:
                connection.process_data_events(COMING_S)
                self._seek(positions)
            while any(reader.lacks_a_moment for reader in self._readers.values()):
                connection.process_data_events(0.005)
                self._seek(positions)
        except session.LOST as error:
            self._lost(error)
            return []
        return self._turns.take(control_max, commands_max)

    def _seek(self, positions: Mapping[LaneId, int]) -> None:
        for reader in self._readers.values():
            reader.seek(positions.get(reader.id, 0))

    def _connected(self) -> BlockingConnection | None:
        """The session, a new one if it is time to try; None while the broker is away."""
        now = self._clock.monotonic_ns()
        if self._connection is None and now >= self._retry_at_ns:
            try:
                connection = session.connect(self._address)
            except Unavailable as error:
                self._lost(error)
                return None
            self._connection = connection
            self._control = connection.channel()
            for reader in self._readers.values():
                self._consume(connection, reader)
            self._look_at_ns = 0
            self._pause_ns = BACK_OFF_NS
        return self._connection

    def _lost(self, error: BaseException) -> None:
        if self._pause_ns == BACK_OFF_NS:  # once, not at each try
            _log.warning("rabbitmq", broker=str(self._address), error=f"{type(error).__name__} {error}"[:200])
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*session.LOST):
                connection.close()
        self._retry_at_ns = self._clock.monotonic_ns() + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, BACK_OFF_NS_MAX)

    def _consume(self, connection: BlockingConnection, reader: _LaneReader) -> None:
        if not queues.exists(connection, reader.queue):
            raise Corrupt(f"queue {reader.queue} is gone, and what it held; stop, and find out")
        reader.consume(connection)

    def _look(self, connection: BlockingConnection, positions: Mapping[LaneId, int]) -> None:
        """See that every lane is there and served. Raises `Corrupt` if one that is journaled is not."""
        for reader in self._readers.values():
            if reader.cancelled or reader.channel is None or not reader.channel.is_open:
                self._consume(connection, reader)
        if self._clock.monotonic_ns() >= self._look_at_ns:
            assert self._control is not None
            told = self._control.queue_declare(self._names.register, passive=True).method
            if told.message_count != len(self._readers):
                self._read_register(connection)
            self._look_at_ns = self._clock.monotonic_ns() + LOOK_EVERY_NS
        until_ns = self._clock.monotonic_ns() + int(MISSING_S * 1e9)
        while missing := [id for id, position in positions.items() if position and id not in self._readers]:
            if self._clock.monotonic_ns() > until_ns:
                raise Corrupt(
                    f"lane {missing[0].hex()} is journaled up to block {positions[missing[0]]}, but {self._address} "
                    "does not know it: its register is gone, or TALLY_INTAKE names another intake"
                )
            self._stopping.wait(0.1)
            self._read_register(connection)

    def _read_register(self, connection: BlockingConnection) -> None:
        try:
            with lanes.opened(connection, self._names, self._clock, patience_s=0) as register:
                records = list(register.records.values())
        except Unavailable:
            return  # a gateway has it just now
        for record in records:
            if record.id not in self._readers:
                queue = self._names.lane(record.id, record.control)
                reader = _LaneReader(record.id, record.control, queue, self._shard, self._clock)
                self._consume(connection, reader)
                self._readers[record.id] = reader
                self._turns.add(reader)

    def expect(self, positions: Mapping[LaneId, int], timeout_s: float) -> bool:
        until_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            try:
                if (connection := self._connected()) is not None:
                    if not positions.keys() <= self._readers.keys():
                        self._look_at_ns = 0
                    self._look(connection, {})
                    late = [id for id, number in positions.items() if not self._has(id, number)]
                    if not late:
                        return True
                    connection.process_data_events(0.005)
            except session.LOST as error:
                self._lost(error)
            if self._clock.monotonic_ns() >= until_ns:
                return False
            if self._connection is None:
                self._stopping.wait(0.01)

    def _has(self, id: LaneId, number: int) -> bool:
        reader = self._readers.get(id)
        return reader is not None and (reader.last >= number or reader.full)

    def done(self, positions: Mapping[LaneId, int]) -> None:
        try:
            for id, position in positions.items():
                if (reader := self._readers.get(id)) is not None and self._connection is not None:
                    reader.acknowledge(position)
        except session.LOST as error:
            self._lost(error)

    def close(self) -> None:
        self._stopping.set()
        if self._beating.ident is not None:
            self._beating.join()
        for lane in self._open:
            lane.abandon()
        if self._connection is not None:
            with suppress(*session.LOST):
                self._connection.close()
        self._connection = None
        self._readers.clear()
        self._turns = Turns()
