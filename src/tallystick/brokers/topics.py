"""Topics of a Kafka cluster: made where they are missing, and looked at before they are trusted.

Not `acks=all` alone makes a record safe. Replicas do, if two must have it; or the disk, if one broker flushes each
record before it answers.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from tallystick.brokers.address import Address
from tallystick.brokers.kafka import unavailable
from tallystick.errors import Invalid, Unavailable

ADMIN_S = 10.0
"""How long a broker may take to say what it has."""
LOOK_AGAIN_S = 0.05
ASKED_MAX = 5
_CUT_OFF = {KafkaError._DESTROY_BROKER, KafkaError._TRANSPORT}
"""A connection that ended while the broker was asked: after a broker stood still, and where its name changed."""
REPLICAS = 3
SYNC_MIN = 2


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that passed."""

    name: str
    id: bytes  # 16 bytes, another one if the topic is made anew
    partitions: int


Judge = Callable[[Mapping[str, str], int], Sequence[str]]
"""From a topic's settings, and the fewest replicas that a partition has, to what is wrong with them."""


def ready(
    admin: AdminClient,
    address: Address,
    names: tuple[str, ...],
    partitions: int,
    settings: Mapping[str, str],
    judge: Judge,
    loses: str,
) -> dict[str, Topic]:
    """The topics by name, made with `settings` where they are missing. Raises `Unavailable` if no broker answers in
    time, `Invalid` that names each fault that `judge` finds and what such a topic `loses`.
    """
    found = look(admin, address, names)
    if missing := [name for name in names if name not in found]:
        _make(admin, address, missing, partitions, settings)
    patience, waiting = int(ADMIN_S / LOOK_AGAIN_S), threading.Event()
    told = {name: _told(admin, address, name) for name in names}
    # Brokers learn of a topic one after the other: of a new one, and one that has just come up of each.
    while len(found) < len(names) or not all(told.values()):
        waiting.wait(LOOK_AGAIN_S)
        found = look(admin, address, names)
        told = {name: known or _told(admin, address, name) for name, known in told.items()}
        if not (patience := patience - 1):
            raise Unavailable(f"{address}: topics do not appear although they were made")
    faults = [f"topic {name}: {fault}" for name, known in told.items() if known for fault in judge(*known)]
    if faults:
        raise Invalid("", f"{address} would lose {loses}: {'; '.join(faults)}")
    return found


def unsafe(values: Mapping[str, str], replicas: int) -> list[str]:
    """Why a record that a broker has confirmed could be lost, each with the value wanted; none if it could not.

    A broker takes the smaller of `replicas` and `min.insync.replicas` (apache/kafka#14594).
    """
    sync_min = int(values["min.insync.replicas"])
    flushed = replicas == 1 and values["flush.messages"] == "1"
    checks = {
        f"replicas {replicas} and min.insync.replicas {sync_min} (wanted: at least {REPLICAS} and {SYNC_MIN}, "
        "or one replica and flush.messages 1)": flushed or (replicas >= REPLICAS and sync_min >= SYNC_MIN),
        "unclean.leader.election.enable true (wanted: false)": values["unclean.leader.election.enable"] == "false",
    }
    return [fault for fault, good in checks.items() if not good]


def look(admin: AdminClient, address: Address, names: tuple[str, ...]) -> dict[str, Topic]:
    """Those of the topics that there are. Raises `Unavailable`."""
    found = {}
    for name in names:
        try:
            described = _answer(admin.describe_topics, TopicCollection([name]))
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise unavailable(address, error) from error
        found[name] = Topic(name, topic_id(described), len(described.partitions))
    return found


def topic_id(described: Any) -> bytes:
    """The 16 bytes that a topic got when it was made."""
    halves = (described.topic_id.get_most_significant_bits(), described.topic_id.get_least_significant_bits())
    return b"".join((half & (1 << 64) - 1).to_bytes(8, "big") for half in halves)


def _make(admin: AdminClient, address: Address, names: list[str], partitions: int, settings: Mapping[str, str]) -> None:
    try:
        brokers = len(admin.list_topics(timeout=ADMIN_S).brokers)
    except KafkaException as error:
        raise unavailable(address, error) from error
    # Of three that are named one may just be down. With two, both would have to answer: one that flushes is no worse.
    several = max(brokers, len(address.hosts)) >= REPLICAS
    replicas, safe = (REPLICAS, {"min.insync.replicas": str(SYNC_MIN)}) if several else (1, {"flush.messages": "1"})
    topics = [NewTopic(name, partitions, replicas, config={**settings, **safe}) for name in names]
    for asked in admin.create_topics(topics, operation_timeout=ADMIN_S, request_timeout=ADMIN_S).values():
        try:
            asked.result(2 * ADMIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another gateway was quicker
                raise unavailable(address, error) from error


def _told(admin: AdminClient, address: Address, name: str) -> tuple[Mapping[str, str], int] | None:
    """A topic's settings, and the fewest replicas that a partition has; None if a broker does not know it yet."""
    try:
        told: Mapping[str, Any] = _answer(admin.describe_configs, [ConfigResource(ResourceType.TOPIC, name)])
        known = admin.list_topics(name, timeout=ADMIN_S).topics[name].partitions
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise unavailable(address, error) from error
    if not known:
        return None
    return {key: str(entry.value) for key, entry in told.items()}, min(len(each.replicas) for each in known.values())


def _answer(ask: Callable[..., Mapping[Any, Future[Any]]], about: Any) -> Any:
    """The answer to a question about one thing, asked again if the connection ends meanwhile: it changes nothing.

    Raises `KafkaException`.
    """
    waiting = threading.Event()
    for tries in range(ASKED_MAX):
        (asked,) = ask(about, request_timeout=ADMIN_S).values()
        try:
            return asked.result(2 * ADMIN_S)
        except KafkaException as error:
            if error.args[0].code() not in _CUT_OFF or tries + 1 == ASKED_MAX:
                raise
        waiting.wait(LOOK_AGAIN_S)
    raise AssertionError("unreachable")
