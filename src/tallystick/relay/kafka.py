"""The outlet to a Kafka topic. The key is the tenant, so each account's events stay in order.

Kafka keeps the order of a partition, and a transfer touches two accounts: an account as key would keep one of them in
order. All events of a tenant, hence of each of its accounts, go to one partition; tenants spread over partitions.

**No gap, ever.** An idempotent producer writes what it was given as one gapless run a partition, and sends again by
itself what it may. Once a record of it fails, none after that one may follow; so no record times out by itself, and
when nothing is confirmed for a while the producer is given up, with all that it has. What of that was on its way can
arrive late, after its repeat: there it is a repeat itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from tallystick.brokers import topics
from tallystick.brokers.address import Address
from tallystick.brokers.kafka import client_settings, quiet
from tallystick.clock import Clock
from tallystick.errors import Invalid, OutcomeUnknown, Unavailable
from tallystick.relay.cloudevents import CONTENT_TYPE
from tallystick.relay.port import Event

SILENT_S = 8.0
"""Nothing confirmed for so long, and the rest is unknown. A killed broker is back, or replaced, within 6 s."""
PARTITIONS = 8
"""Of a topic that is made, unless the address says."""
SETTINGS = {"cleanup.policy": "delete", "unclean.leader.election.enable": "false"}
_HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE)]
_REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_log = structlog.get_logger("tallystick.relay.kafka")


def faults(values: Mapping[str, str], replicas: int) -> list[str]:
    """What of a topic's settings would lose events that count as sent."""
    found = topics.unsafe(values, replicas)
    if values["cleanup.policy"] != "delete":
        found.append(f"cleanup.policy {values['cleanup.policy']} (wanted: delete): it keeps a tenant's last event only")
    return found


@dataclass(slots=True)
class _Reports:
    """What the client said of the records of one `send`."""

    confirmed: int = 0
    failure: KafkaError | None = None

    def __call__(self, failure: KafkaError | None, message: Message) -> None:
        if failure is None:
            self.confirmed += 1
        else:
            self.failure = self.failure or failure


class KafkaOutlet:
    """One topic of one cluster (`relay.port.Outlet`)."""

    def __init__(self, address: Address, clock: Clock) -> None:
        """Nobody is asked before the first `connect` or `send`."""
        self._address = address
        self._clock = clock
        self._settings: dict[str, Any] = {**client_settings(address), "error_cb": self._told, "logger": quiet}
        self._producer: Producer | None = None
        self._complaint = ""

    def connect(self) -> None:
        self._ready()

    def send(self, events: Sequence[Event]) -> int:
        producer = self._ready()
        reports = _Reports()
        try:
            for event in events:
                self._produce(producer, event, reports)
            self._confirmed(producer, reports, len(events))
        except BaseException:
            self._give_up()
            raise
        return 0

    def _ready(self) -> Producer:
        """A producer, once the topic is as it must be: of a missing one a producer says nothing for 30 s."""
        if self._producer is None:
            try:
                admin = AdminClient(self._settings)
            except KafkaException as error:
                raise Invalid("", f"{self._address}: {error.args[0]}") from error
            partitions = int(self._address.options.get("partitions", PARTITIONS))
            name = self._address.name
            topics.ready(admin, self._address, (name,), partitions, SETTINGS, faults, "events")
            self._producer = Producer(
                {
                    **self._settings,
                    "acks": "all",
                    "enable.idempotence": True,
                    "enable.gapless.guarantee": True,
                    "message.timeout.ms": 0,  # none by itself: what follows it would be written all the same
                    "linger.ms": 2,
                    "queue.buffering.max.messages": 100_000,
                }
            )
        return self._producer

    def _produce(self, producer: Producer, event: Event, reports: _Reports) -> None:
        while reports.failure is None:
            try:
                producer.produce(
                    self._address.name, event.body, str(event.tenant), headers=_HEADERS, on_delivery=reports
                )
                producer.poll(0)
                return
            except BufferError:  # it has as much as it takes: some of it must be confirmed first
                self._confirmed(producer, reports, reports.confirmed + 1)
            except KafkaException as error:
                raise OutcomeUnknown(f"{self._address}: {error.args[0]}") from error

    def _confirmed(self, producer: Producer, reports: _Reports, count: int) -> None:
        """Wait until so many are confirmed. Raises `Unavailable`, `OutcomeUnknown`."""
        seen, until_ns = reports.confirmed, self._silent_ns()
        while reports.confirmed < count:
            if (failure := reports.failure) is not None:
                kind = Unavailable if failure.code() in _REFUSED else OutcomeUnknown
                raise kind(f"{self._address} did not take an event: {failure.str()}")
            if reports.confirmed > seen:
                seen, until_ns = reports.confirmed, self._silent_ns()
            elif self._clock.monotonic_ns() > until_ns:
                raise OutcomeUnknown(f"{self._address} confirms nothing: {self._complaint or 'it is silent'}")
            producer.poll(0.05)
        self._complaint = ""

    def _silent_ns(self) -> int:
        return self._clock.monotonic_ns() + int(SILENT_S * 1e9)

    def _give_up(self) -> None:
        """Nothing that this producer has may be sent any more."""
        if self._producer is not None:
            self._producer.purge()
        self._producer = None

    def _told(self, error: KafkaError) -> None:
        """One line for each new trouble, not one for each try."""
        if error.str() != self._complaint:
            self._complaint = error.str()
            _log.warning("kafka", broker=str(self._address), error=error.str())

    def tend(self) -> None:
        if self._producer is not None:
            self._producer.poll(0)

    def close(self) -> None:
        self._give_up()
