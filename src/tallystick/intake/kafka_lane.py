"""The writing end of a lane on Kafka: one record at a time, and what a broker's silence means."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tallystick.blockfile.disk import Lock
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.intake.port import LaneId
from tallystick.records.blocks import Bytes, command_block

SUBMIT_S = 8.0
"""When a record counts as unknown that no broker has confirmed. A killed broker is back, or replaced, within 6 s."""
MESSAGE_BYTES_MAX = 4_194_304
_REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.INVALID_REQUIRED_ACKS,
}
"""With these the broker says that it has written nothing. All else that is no success may have been written."""


def producer(settings: dict[str, Any]) -> Producer:
    """Of records that count once all in-sync replicas have them; sent again by the client without ever doubling."""
    return Producer(
        {
            **settings,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.timeout.ms": int(SUBMIT_S * 1000),
            "message.max.bytes": MESSAGE_BYTES_MAX,
        }
    )


class KafkaLane:
    """The writing end of one partition. `submit` waits for a broker."""

    prompt = False

    def __init__(
        self,
        id: LaneId,
        control: bool,
        topic: str,
        partition: int,
        next_number: int,
        shard: int,
        producer: Producer,
        claim: Lock,
    ) -> None:
        self.id = id
        self.control = control
        self._topic = topic
        self._partition = partition
        self._next = next_number
        self._shard = shard
        self._producer = producer
        self._claim: Lock | None = claim

    def submit(self, commands: Bytes) -> int:
        block = b"".join(command_block(self.id, self._next, commands, self._shard))
        if self._claim is None:
            raise OutcomeUnknown(f"lane {self.id.hex()} was closed here")
        reports: list[tuple[KafkaError | None, Message]] = []
        try:
            self._producer.produce(
                self._topic, block, partition=self._partition, on_delivery=lambda *report: reports.append(report)
            )
            while not reports:
                self._producer.poll(0.5)
        except BufferError as error:
            raise Unavailable(f"lane {self.id.hex()}: the client takes no more") from error
        except KafkaException as error:
            raise OutcomeUnknown(f"lane {self.id.hex()}: {error.args[0]}") from error
        failure, message = reports[0]
        if failure is not None:
            if failure.code() in _REFUSED:
                raise Unavailable(f"{self._topic} takes nothing: {failure.str()}")
            raise OutcomeUnknown(f"{self._topic} partition {self._partition}: {failure.str()}")
        offset = message.offset()
        if offset is None or offset + 1 < self._next:
            raise Corrupt(
                f"{self._topic} partition {self._partition} stored block {self._next} at {offset}: it lost what it "
                "had, or was made anew; stop the gateways and the engine, and find out"
            )
        self._next = offset + 2
        return offset + 1

    def close(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()
