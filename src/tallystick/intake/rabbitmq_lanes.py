"""Lanes on RabbitMQ: which there are, whose they are, and the writing end of one.

The queue `NAME-SHARD.lanes` is the register: one message a lane, read and changed only by who owns the name
`NAME-SHARD.opening`. A lane belongs to the session that owns `NAME-SHARD.owner.ID`, and the broker sees to it: it frees
the name when it ends the session, and takes nothing from that session any more. So there is one writer, also when a
gateway stood still and comes back.

A lane's number is a term and a count. Who gives a lane up in order writes down its last number, and the next goes on
from there. Where nobody could, nobody knows the last number, so the next begins another term: `2^40 × term + 1`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
import pika.exceptions
from pika.adapters.blocking_connection import BlockingConnection

from tallystick.brokers import rabbitmq as session
from tallystick.brokers.address import Address
from tallystick.clock import Clock
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.intake import rabbitmq_queues as queues
from tallystick.intake.port import LaneId
from tallystick.records.blocks import Bytes, command_block

TERM_SHIFT = 40
COUNT_MASK = (1 << TERM_SHIFT) - 1
OPENING_S = 10.0
OPENING_PAUSE_S = 0.02


class Record(msgspec.Struct, frozen=True):
    """What the register says of a lane."""

    lane: str
    control: bool
    term: int = 0
    last: int | None = None
    """The number of its last block, if it was given up in order; None while somebody has it, or died with it."""

    @property
    def id(self) -> LaneId:
        """Its 16 bytes."""
        return bytes.fromhex(self.lane)


def follows(number: int, before: int) -> bool:
    """Whether block `number` may come after block `before` of a lane (0: after nothing)."""
    return number == before + 1 or (number & COUNT_MASK == 1 and number >> TERM_SHIFT > before >> TERM_SHIFT)


class Names:
    """Of the queues of a shard."""

    def __init__(self, address: Address, shard: int) -> None:
        self._stem = f"{address.name}-{shard}"
        self.register = f"{self._stem}.lanes"
        self.opening = f"{self._stem}.opening"

    def lane(self, id: LaneId, control: bool) -> str:
        """The queue that carries a lane."""
        return f"{self._stem}.{'control' if control else 'payments'}.{id.hex()}"

    def owner(self, id: LaneId) -> str:
        """What only its writer's session owns."""
        return f"{self._stem}.owner.{id.hex()}"


class Register:
    """The register of lanes, open for this session alone; leave by `opened`."""

    def __init__(self, connection: BlockingConnection, queue: str) -> None:
        channel = connection.channel()
        channel.confirm_delivery()
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._tags: dict[LaneId, list[int]] = {}
        self.records: dict[LaneId, Record] = {}
        while True:
            method, _, body = channel.basic_get(queue)
            if method is None:
                return
            record = msgspec.json.decode(body, type=Record)
            self._tags.setdefault(record.id, []).append(method.delivery_tag)
            known = self.records.get(record.id)
            # Two of one lane: whoever changed it died in between. Then nobody knows its last number.
            self.records[record.id] = record if known is None else _in_doubt(record, known)

    def write(self, record: Record) -> None:
        """Replace what is said of a lane. The new word is durable before the old one goes."""
        queues.publish(self._connection, self._channel, self._queue, msgspec.json.encode(record))
        for tag in self._tags.pop(record.id, []):
            self._channel.basic_ack(tag)
        self.records[record.id] = record

    def put_back(self) -> None:
        """Let others read what was read here."""
        if self._tags:
            self._channel.basic_nack(0, multiple=True, requeue=True)
        self._channel.queue_declare(self._queue, passive=True)  # the broker has heard all before it answers this
        self._channel.close()


def _in_doubt(one: Record, other: Record) -> Record:
    return Record(one.lane, one.control, max(one.term, other.term))


@contextmanager
def opened(
    connection: BlockingConnection, names: Names, clock: Clock, patience_s: float = OPENING_S
) -> Iterator[Register]:
    """The register, while no other session has it. Raises `Unavailable` if that does not come to be."""
    until_ns, waiting = clock.monotonic_ns() + int(patience_s * 1e9), threading.Event()
    while (lock := queues.lock(connection, names.opening)) is None:
        if clock.monotonic_ns() >= until_ns:
            raise Unavailable(f"another session keeps {names.opening}")
        waiting.wait(OPENING_PAUSE_S)
    register = Register(connection, names.register)
    try:
        yield register
    finally:
        with suppress(*session.LOST):
            register.put_back()
            lock.queue_delete(names.opening)
            lock.close()


class RabbitLane:
    """The writing end of one quorum queue. `submit` waits for the broker."""

    prompt = False

    def __init__(
        self,
        address: Address,
        connection: BlockingConnection,
        names: Names,
        record: Record,
        last: int,
        shard: int,
        clock: Clock,
    ) -> None:
        self.id = record.id
        self.control = record.control
        self._address = address
        self._names = names
        self._record = record
        self._queue = names.lane(self.id, self.control)
        self._last = last
        self._shard = shard
        self._clock = clock
        self._in_doubt = False
        self._lock = threading.Lock()  # over the session: heartbeats are another thread's
        self._connection: BlockingConnection | None = connection
        self._channel = connection.channel()
        self._channel.confirm_delivery()

    def submit(self, commands: Bytes) -> int:
        number = self._last + 1
        block = b"".join(command_block(self.id, number, commands, self._shard))
        with self._lock:
            if self._connection is None or self._in_doubt:
                raise OutcomeUnknown(f"lane {self.id.hex()} is closed here, or was in doubt")
            try:
                queues.publish(self._connection, self._channel, self._queue, block)
            except pika.exceptions.UnroutableError as error:
                self._in_doubt = True
                raise Corrupt(f"queue {self._queue} is gone, and what it held; stop, and find out") from error
            except session.LOST as error:
                self._in_doubt = True
                told = session.unavailable(self._address, error)
                raise OutcomeUnknown(f"lane {self.id.hex()}: {told}") from error
        self._last = number
        return number

    def beat(self) -> None:
        """Show the broker that we live, unless a submit does."""
        if self._lock.acquire(blocking=False):
            try:
                if self._connection is not None and not self._in_doubt:
                    self._connection.process_data_events(0)
            except session.LOST:
                self._in_doubt = True  # the next submit tells; nothing was under way
            finally:
                self._lock.release()

    @property
    def in_doubt(self) -> bool:
        """Whether a submit ended unknown, or the session did."""
        return self._in_doubt

    @property
    def is_open(self) -> bool:
        """Whether it was not closed here."""
        return self._connection is not None

    def abandon(self) -> None:
        """End the session and write nothing down: the next who takes the lane begins another term."""
        self._in_doubt = True
        self.close()

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            with suppress(*session.LOST, Unavailable):
                if not self._in_doubt:
                    with opened(connection, self._names, self._clock) as register:
                        register.write(msgspec.structs.replace(self._record, last=self._last))
            with suppress(*session.LOST):
                connection.close()


def open_lane(
    address: Address,
    names: Names,
    control: bool,
    shard: int,
    clock: Clock,
    new_id: LaneId,
    avoid: LaneId | None,
    settle_s: float,
) -> RabbitLane:
    """A lane that nobody has, but not `avoid`, or a new one after `settle_s`.

    Raises `Unavailable`, and `Corrupt` if the queue of a lane is missing.
    """
    connection = session.connect(address)
    try:
        with session.translated(address), opened(connection, names, clock) as register:
            for record in list(register.records.values()):
                wanted = record.control == control and record.id != avoid
                if wanted and queues.lock(connection, names.owner(record.id)) is not None:
                    return _take_over(address, connection, names, register, record, shard, clock)
            record = Record(new_id.hex(), control)
            queues.lock(connection, names.owner(new_id))
            queues.declare(address, connection, names.lane(new_id, control), queues.LANE_ARGUMENTS)
            connection.sleep(settle_s)
            register.write(record)
            return RabbitLane(address, connection, names, record, 0, shard, clock)
    except BaseException:
        with suppress(*session.LOST):
            connection.close()
        raise


def _take_over(
    address: Address,
    connection: BlockingConnection,
    names: Names,
    register: Register,
    record: Record,
    shard: int,
    clock: Clock,
) -> RabbitLane:
    queue = names.lane(record.id, record.control)
    if not queues.exists(connection, queue):
        raise Corrupt(f"queue {queue} is gone, and what it held; stop, and find out")
    queues.declare(address, connection, queue, queues.LANE_ARGUMENTS)
    if record.last is None:
        record = msgspec.structs.replace(record, term=record.term + 1)
        last = record.term << TERM_SHIFT
    else:
        last = record.last
        record = msgspec.structs.replace(record, last=None)
    register.write(record)
    return RabbitLane(address, connection, names, record, last, shard, clock)
