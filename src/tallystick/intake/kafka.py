"""The intake on Kafka: one record is one command block, a partition is a lane (DESIGN §6).

**The place is the number.** Block n of a lane is the record at offset n - 1 of its partition, whatever its header says:
a producer that was given up may still write a record late, and its requests, which were submitted again elsewhere, are
decided there as repeats. A lane's id is made of the topic's id and the partition. So the positions in the journal are
all there is to keep, and a topic that was made anew has other lanes: the journaled ones are missing, which is `Corrupt`
and never a stall or a skip. Kafka's own offsets of groups are not used.

Two topics, `NAME-SHARD-payments` and `NAME-SHARD-control`; intake/kafka_topics.py says which settings they must have.
Gateways of one machine keep out of each other's partitions by locks in a folder they share. Two that share a partition
all the same lose nothing; the engine's pushes reach one of them, and the other asks.
"""

import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tallystick.blockfile.disk import Disk, Lock
from tallystick.brokers.address import Address
from tallystick.brokers.kafka import client_settings, quiet, unavailable
from tallystick.brokers.topics import ADMIN_S, Topic, look
from tallystick.clock import Clock
from tallystick.errors import Corrupt, Fenced, Unavailable
from tallystick.intake import kafka_topics
from tallystick.intake.kafka_chores import Chores
from tallystick.intake.kafka_lane import MESSAGE_BYTES_MAX, KafkaLane, producer
from tallystick.intake.port import LaneId
from tallystick.intake.turns import Turns
from tallystick.records.blocks import CommandBlock, parse

CATCH_UP_S = 20.0
WAITING_MAX = 64
"""Blocks of a lane that wait here; more stay with the broker."""
WAITING_MIN = 8
LEADER_PAUSE_S = 0.05
HOUSEKEEPING_NS = 10_000_000_000
_LEADERLESS = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,  # for a moment, when a broker that stood still is its own new leader
    KafkaError._NOENT,  # this client has not heard of the partition yet
}
_log = structlog.get_logger("tallystick.intake.kafka")


def topic_names(address: Address, shard: int) -> dict[bool, str]:
    """By whether it carries control commands."""
    return {False: f"{address.name}-{shard}-payments", True: f"{address.name}-{shard}-control"}


def lane_id(topic_id: bytes, partition: int) -> LaneId:
    """12 of the topic id's random bytes, and the partition."""
    return topic_id[:12] + partition.to_bytes(4, "big")


class _LaneReader:
    """How far one partition was read. `waiting` are blocks read but not yet known to be journaled, in order."""

    def __init__(self, id: LaneId, control: bool, topic: str, partition: int, shard: int) -> None:
        self.id = id
        self.control = control
        self.topic = topic
        self.partition = partition
        self.waiting: deque[CommandBlock] = deque()
        self.next = 1  # number of the block that will arrive next
        self.paused = False
        self._shard = shard

    def skip(self, position: int) -> bool:
        """Let `waiting` begin with the block after `position`; False if it must be fetched anew for that."""
        waiting = self.waiting
        while waiting and waiting[0].header.first <= position:
            waiting.popleft()
        return (waiting[0].header.first if waiting else self.next) == position + 1

    def begin(self, position: int) -> None:
        self.waiting.clear()
        self.next = position + 1

    def arrive(self, message: Message) -> None:
        """Raises `Corrupt` for a gap and for what is no block of this lane."""
        offset, value = message.offset(), message.value()
        assert offset is not None
        if offset < self.next - 1:
            return
        if offset > self.next - 1:
            raise Corrupt(f"{self.topic} partition {self.partition}: after block {self.next - 1} comes {offset + 1}")
        block = parse(value or b"")
        if not isinstance(block, CommandBlock) or block.header.lane != self.id or block.header.shard != self._shard:
            raise Corrupt(
                f"{self.topic} partition {self.partition}: record {offset} is no block of lane {self.id.hex()}"
            )
        if block.header.first != self.next:
            block = CommandBlock(msgspec.structs.replace(block.header, first=self.next), block.commands)
        self.waiting.append(block)
        self.next += 1

    def block(self, index: int) -> CommandBlock | None:
        return self.waiting[index] if index < len(self.waiting) else None

    def at(self, offset: int) -> TopicPartition:
        return TopicPartition(self.topic, self.partition, offset)


class KafkaIntake:
    """All lanes of a shard on one cluster: a gateway opens them, the engine receives. Not for concurrent calls."""

    def __init__(
        self,
        address: Address,
        claims: Path,
        disk: Disk,
        clock: Clock,
        retention_s: float,
        shard: int = 0,
        partitions: int = 8,
    ) -> None:
        """`claims`: the folder of the locks on partitions. `partitions`: of a topic that is made, and so the most lanes
        of a sort. Raises as `kafka_topics.ready`.
        """
        self._address = address
        self._claims = claims
        self._disk = disk
        self._clock = clock
        self._retention_ns = int(retention_s * 1e9)
        self._shard = shard
        self._names = topic_names(address, shard)
        self._settings = {**client_settings(address), "error_cb": self._told, "logger": quiet}
        self._admin = AdminClient(self._settings)
        self._topics = kafka_topics.ready(self._admin, address, tuple(self._names.values()), partitions)
        self._spent: set[LaneId] = set()
        self._consumers: dict[bool, Consumer] = {}
        self._lanes: dict[tuple[str, int], _LaneReader] = {}
        self._by_id: dict[LaneId, _LaneReader] = {}
        self._turns = Turns()
        self._journaled: dict[LaneId, int] = {}
        self._housekeeping_at_ns = 0
        self._chores = Chores(self._admin, self._topics)
        self._complaint = ""
        self._pause = threading.Event()

    def open_lane(self, control: bool) -> KafkaLane:
        topic = self._unchanged_topic(self._names[control])
        self._disk.make_folder(self._claims)
        free = sorted(range(topic.partitions), key=lambda each: lane_id(topic.id, each) in self._spent)
        for partition in free:
            try:
                claim = self._disk.lock(self._claims / f"{topic.name}-{partition}.lock")
            except Fenced:
                continue
            try:
                return self._open(topic, partition, control, claim)
            except BaseException:
                claim.release()
                raise
        raise Unavailable(
            f"all {topic.partitions} partitions of {topic.name} have their gateway; add some (kafka-topics.sh --alter)"
        )

    def _open(self, topic: Topic, partition: int, control: bool, claim: Lock) -> KafkaLane:
        id = lane_id(topic.id, partition)
        end = self._ends({TopicPartition(topic.name, partition): OffsetSpec.latest()})[topic.name, partition]
        self._spent.add(id)  # next time another one, if this proves bad
        return KafkaLane(id, control, topic.name, partition, end + 1, self._shard, producer(self._settings), claim)

    def _unchanged_topic(self, name: str) -> Topic:
        found = look(self._admin, self._address, (name,)).get(name)
        if found is None:
            raise Unavailable(f"topic {name} is not there")  # a broker that has just come up may not know it yet
        if found.id != self._topics[name].id:
            raise Corrupt(f"topic {name} was made anew; what it held is gone")
        return found

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        if not self._consumers:
            self._attach()
            self._assign(positions)
        self._refuse_missing(positions)
        self._take_in(0)
        if not all(lane.skip(positions.get(lane.id, 0)) for lane in self._by_id.values()):
            self._assign(positions)
        return self._turns.take(control_max, commands_max)

    def _attach(self) -> None:
        for control, name in self._names.items():
            self._consumers[control] = Consumer(
                {
                    **self._settings,
                    "group.id": name,  # wanted by the client; nothing is committed
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 100,
                    "fetch.message.max.bytes": MESSAGE_BYTES_MAX,
                    "queued.max.messages.kbytes": 32_768,
                }
            )
            topic = self._topics[name]
            for partition in range(topic.partitions):
                self._add(_LaneReader(lane_id(topic.id, partition), control, name, partition, self._shard))

    def _add(self, lane: _LaneReader) -> None:
        self._lanes[lane.topic, lane.partition] = lane
        self._by_id[lane.id] = lane
        self._turns.add(lane)

    def _refuse_missing(self, positions: Mapping[LaneId, int]) -> None:
        if positions.keys() <= self._by_id.keys():
            return
        for id, position in positions.items():
            if position and id not in self._by_id:
                raise Corrupt(
                    f"lane {id.hex()} is journaled up to block {position}, but is none of {self._address}: "
                    "its topic was made anew, or TALLY_INTAKE names another intake"
                )

    def _assign(self, positions: Mapping[LaneId, int]) -> None:
        """Begin after `positions`, and take in what is there. Raises `Corrupt` if a partition does not reach there."""
        lanes = list(self._lanes.values())
        first = self._ends({lane.at(0): OffsetSpec.earliest() for lane in lanes})
        end = self._ends({lane.at(0): OffsetSpec.latest() for lane in lanes})
        for lane in lanes:
            position, key = positions.get(lane.id, 0), (lane.topic, lane.partition)
            if not first[key] <= position <= end[key]:
                raise Corrupt(
                    f"lane {lane.id.hex()}: journaled up to block {position}, but {lane.topic} partition "
                    f"{lane.partition} holds blocks {first[key] + 1} to {end[key]}"
                )
            lane.begin(position)
            lane.paused = False
        for control, consumer in self._consumers.items():
            consumer.assign([lane.at(lane.next - 1) for lane in lanes if lane.control == control])
        self.expect({lane.id: end[lane.topic, lane.partition] for lane in lanes}, CATCH_UP_S)

    def expect(self, positions: Mapping[LaneId, int], timeout_s: float) -> bool:
        until_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        pause_s = 0.0
        while self._consumers:
            self._take_in(pause_s)
            late = [id for id, number in positions.items() if (lane := self._by_id.get(id)) and lane.next <= number]
            if all(len(self._by_id[id].waiting) >= WAITING_MAX for id in late):
                return True
            for id in late:
                self._resume(self._by_id[id])  # what waits in it may be decided long since: only `receive` is told
            if self._clock.monotonic_ns() >= until_ns:
                return False
            pause_s = 0.001
        return True

    def _take_in(self, wait_s: float) -> None:
        """Take what has come, and let no lane pile up here."""
        for consumer in self._consumers.values():
            try:
                messages = consumer.consume(500, wait_s)
            except KafkaException as error:
                raise unavailable(self._address, error) from error
            for message in messages:
                self._arrived(message)
        for lane in self._lanes.values():
            waiting = len(lane.waiting)
            if waiting >= WAITING_MAX and not lane.paused:
                self._consumers[lane.control].pause([lane.at(0)])
                lane.paused = True
            elif waiting <= WAITING_MIN:
                self._resume(lane)

    def _resume(self, lane: _LaneReader) -> None:
        if lane.paused and len(lane.waiting) < WAITING_MAX:
            self._consumers[lane.control].resume([lane.at(0)])
            lane.paused = False

    def _arrived(self, message: Message) -> None:
        topic, partition = message.topic(), message.partition()
        error = message.error()
        if error is not None:
            if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise Corrupt(f"{topic} partition {partition} does not hold what is due: {error.str()}")
            self._told(error)
            return
        assert topic is not None
        assert partition is not None
        self._lanes[topic, partition].arrive(message)

    def _ends(self, asked: Mapping[TopicPartition, OffsetSpec]) -> dict[tuple[str, int], int]:
        """Where partitions begin or end. Asked again while a leader is found, of a new topic or after a failure.

        A leader that is so new that it knows of no offset yet answers -1.
        """
        until_ns = self._clock.monotonic_ns() + int(ADMIN_S * 1e9)
        while True:
            try:
                answers = self._admin.list_offsets(dict(asked), request_timeout=ADMIN_S)
                found = {(at.topic, at.partition): int(each.result(2 * ADMIN_S).offset) for at, each in answers.items()}
                if all(offset >= 0 for offset in found.values()):
                    return found
                if self._clock.monotonic_ns() > until_ns:
                    raise Unavailable(f"{self._address} does not know where its partitions begin and end")
            except KafkaException as error:
                if error.args[0].code() not in _LEADERLESS or self._clock.monotonic_ns() > until_ns:
                    raise unavailable(self._address, error) from error
            self._pause.wait(LEADER_PAUSE_S)

    def done(self, positions: Mapping[LaneId, int]) -> None:
        self._journaled.update(positions)
        now = self._clock.monotonic_ns()
        self._chores.step()
        if self._chores.idle and self._by_id and now >= self._housekeeping_at_ns:
            self._housekeeping_at_ns = now + HOUSEKEEPING_NS
            before_ms = (self._clock.wall_ns() - self._retention_ns) // 1_000_000
            decided = {key: self._journaled.get(lane.id, 0) for key, lane in self._lanes.items()}
            self._chores.begin(decided, before_ms)

    def _told(self, error: KafkaError) -> None:
        """One line for each new trouble, not one for each try."""
        if error.str() != self._complaint:
            self._complaint = error.str()
            _log.warning("kafka", broker=str(self._address), error=error.str())

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()
        self._lanes.clear()
        self._by_id.clear()
        self._turns = Turns()
