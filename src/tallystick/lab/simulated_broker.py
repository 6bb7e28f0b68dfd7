"""The intake of a simulation on a broker: another machine, which outlives the bank's, and a network between the two.

What brokers do and files do not: a submit ends unknown though it was written, or was not, or is written later, after
others; lanes arrive each at its own pace; nobody answers for a while; and what was said to be done is gone for good,
at once. As on Kafka, a block's place in its lane is its number.
"""

from collections.abc import Mapping
from random import Random

from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.intake.port import LaneId
from tallystick.intake.turns import Turns
from tallystick.records.blocks import Bytes, CommandBlock, command_block, parse

UNKNOWN = 0.2
"""Share of the submits whose outcome nobody tells: a third each is not written, written, written late."""
REFUSED = 0.04
AWAY = 0.02
"""How often a broker that is there goes away; it is back after a few calls."""
ARRIVING = (0, 0, 1, 2, 5)
"""How many blocks of a lane arrive between two looks."""


class _Queue:
    """One lane, as the broker keeps it; those at or below `deleted` are gone."""

    def __init__(self, id: LaneId, control: bool) -> None:
        self.id = id
        self.control = control
        self.owner: BrokerLane | None = None
        self.blocks: list[bytes] = []
        self.late: list[bytes] = []
        self.deleted = 0

    @property
    def end(self) -> int:
        """Number of its last block."""
        return self.deleted + len(self.blocks)

    def write(self, commands: bytes) -> int:
        """Keep a block, whoever sent it; returns its number."""
        self.blocks.append(commands)
        return self.end


class SimulatedBroker:
    """The broker. `calm`: it fails no more, and what was late is written."""

    def __init__(self, random: Random) -> None:
        self.calm = False
        self.random = random
        self.queues: dict[LaneId, _Queue] = {}
        self.unknown = 0
        """How many submits ended so."""
        self._away = 0

    def answers(self) -> bool:
        """Whether it is there just now."""
        if self.calm:
            return True
        if self._away:
            self._away -= 1
        elif self.random.random() < AWAY:
            self._away = self.random.randint(1, 12)
        return not self._away

    def settle(self) -> None:
        """Write some of what is late; all of it once it is calm."""
        for queue in self.queues.values():
            while queue.late and (self.calm or self.random.random() < 0.2):
                queue.write(queue.late.pop(0))


class BrokerLane:
    """The writing end of one lane."""

    prompt = False

    def __init__(self, broker: SimulatedBroker, queue: _Queue) -> None:
        self.id = queue.id
        self.control = queue.control
        self._broker = broker
        self._queue = queue
        self._in_doubt = False
        queue.owner = self

    def submit(self, commands: Bytes) -> int:
        broker, queue, data = self._broker, self._queue, bytes(commands)
        if queue.owner is not self or self._in_doubt:
            raise OutcomeUnknown(f"lane {self.id.hex()} is closed here, or was in doubt")
        if not broker.answers():
            self._doubt()
        chance = 1.0 if broker.calm else broker.random.random()
        if chance < UNKNOWN:
            broker.random.choice((lambda _: None, queue.write, queue.late.append))(data)
            self._doubt()
        if chance < UNKNOWN + REFUSED:
            raise Unavailable("the broker takes nothing")
        return queue.write(data)

    def _doubt(self) -> None:
        self._broker.unknown += 1
        self._in_doubt = True
        raise OutcomeUnknown(f"lane {self.id.hex()}: the broker did not answer")

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def close(self) -> None:
        if self._queue.owner is self:
            self._queue.owner = None


class _Arriving:
    """What of one lane has come to the engine in this session, and how far that is taken."""

    def __init__(self, queue: _Queue) -> None:
        self.control = queue.control
        self.queue = queue
        self.arrived = queue.deleted
        self.taken = 0

    def block(self, index: int) -> CommandBlock | None:
        number = self.taken + 1 + index
        if number > self.arrived:
            return None
        queue = self.queue
        block = parse(b"".join(command_block(queue.id, number, queue.blocks[number - queue.deleted - 1])))
        assert isinstance(block, CommandBlock)
        return block


class BrokerIntake:
    """All lanes, as one process of the bank sees them: a session, which ends with the process."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker
        self._arriving: dict[LaneId, _Arriving] = {}
        self._turns = Turns()
        self._open: list[BrokerLane] = []

    def open_lane(self, control: bool) -> BrokerLane:
        broker = self._broker
        if not broker.answers():
            raise Unavailable("the broker does not answer")
        free = [queue for queue in broker.queues.values() if queue.control == control and queue.owner is None]
        queue = broker.random.choice([*free, None])
        if queue is None:
            queue = _Queue(broker.random.randbytes(16), control)
            broker.queues[queue.id] = queue
        self._open.append(BrokerLane(broker, queue))
        return self._open[-1]

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        broker = self._broker
        broker.settle()
        if not broker.answers():
            return []
        for id, queue in broker.queues.items():
            if id not in self._arriving:
                self._arriving[id] = _Arriving(queue)
                self._turns.add(self._arriving[id])
        for id, position in positions.items():
            if position and id not in self._arriving:
                raise Corrupt(f"lane {id.hex()} is journaled up to block {position}, but the broker does not know it")
        for id, lane in self._arriving.items():
            more = lane.queue.end if broker.calm else broker.random.choice(ARRIVING)
            lane.arrived = min(lane.arrived + more, lane.queue.end)
            lane.taken = positions.get(id, 0)
            if not lane.queue.deleted <= lane.taken <= lane.queue.end:
                raise Corrupt(
                    f"lane {id.hex()}: journaled up to block {lane.taken}, but the broker holds "
                    f"{lane.queue.deleted + 1} to {lane.queue.end}"
                )
        return self._turns.take(control_max, commands_max)

    def expect(self, positions: Mapping[LaneId, int], timeout_s: float) -> bool:
        return True

    def done(self, positions: Mapping[LaneId, int]) -> None:
        for id, position in positions.items():
            queue = self._broker.queues.get(id)
            if queue is not None and position > queue.deleted:
                del queue.blocks[: position - queue.deleted]
                queue.deleted = position

    def close(self) -> None:
        """The session is over, in order or with its process: others may write to its lanes."""
        for lane in self._open:
            lane.close()
