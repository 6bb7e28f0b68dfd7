"""The topics of an intake on Kafka: made with settings under which "acknowledged" is true, refused with others.

Not `acks=all` alone makes a record safe. Replicas do, if two must have it; or the disk, if one broker flushes each
record before it answers. And none of it helps where Kafka deletes by itself: a week of outage, and acknowledged
payments are gone by `retention.ms`.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from tallystick.errors import Invalid, Unavailable
from tallystick.intake.address import Address
from tallystick.records.blocks import HEADER_SIZE
from tallystick.records.commands import COMMAND_SIZE, COMMANDS_MAX

ADMIN_S = 10.0
"""How long a broker may take to say what it has."""
LOOK_AGAIN_S = 0.05
REPLICAS = 3
SYNC_MIN = 2
MESSAGE_BYTES_MIN = HEADER_SIZE + COMMANDS_MAX * COMMAND_SIZE + 4_096
"""The largest block, and what Kafka writes around it."""
MESSAGE_BYTES = 4_194_304
SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
    "max.message.bytes": str(MESSAGE_BYTES),
    "message.timestamp.type": "LogAppendTime",
    "compression.type": "producer",
}
"""Of a topic that we make."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that passed."""

    name: str
    id: bytes  # 16 bytes, another one if the topic is made anew
    partitions: int


def client_settings(address: Address) -> dict[str, Any]:
    """What every client of this cluster is told."""
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(f"{host}:{port}" for host, port in address.hosts),
        "client.id": "tallystick",
        "socket.connection.setup.timeout.ms": 5_000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
    }
    security = "SSL" if address.tls else "PLAINTEXT"
    if address.user:
        found |= {
            "sasl.mechanism": address.options.get("mechanism", "SCRAM-SHA-256"),
            "sasl.username": address.user,
            "sasl.password": address.password,
        }
        security = f"SASL_{security}"
    found["security.protocol"] = security
    files = {"ca": "ssl.ca.location", "certificate": "ssl.certificate.location", "key": "ssl.key.location"}
    return found | {files[name]: value for name, value in address.options.items() if name in files}


def ready(admin: AdminClient, address: Address, names: tuple[str, ...], partitions: int) -> dict[str, Topic]:
    """The topics by name, made where they are missing. Raises `Unavailable` if no broker answers in time, `Invalid`
    that names each setting under which an acknowledged record could be lost.
    """
    found = look(admin, address, names)
    if missing := [name for name in names if name not in found]:
        _make(admin, address, missing, partitions)
    patience, waiting = int(ADMIN_S / LOOK_AGAIN_S), threading.Event()
    while len(found) < len(names):  # brokers learn of a new topic one after the other
        waiting.wait(LOOK_AGAIN_S)
        found = look(admin, address, names)
        if not (patience := patience - 1):
            raise Unavailable(f"{address}: topics do not appear although they were made")
    faults = [fault for name in names for fault in _faults(admin, address, name)]
    if faults:
        raise Invalid("", f"{address} would lose acknowledged payments: {'; '.join(faults)}")
    return found


def look(admin: AdminClient, address: Address, names: tuple[str, ...]) -> dict[str, Topic]:
    """Those of the topics that there are. Raises `Unavailable`."""
    found = {}
    for name, asked in admin.describe_topics(TopicCollection(list(names)), request_timeout=ADMIN_S).items():
        try:
            described = asked.result(2 * ADMIN_S)
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


def unavailable(address: Address, error: KafkaException) -> Unavailable:
    """In one line what a broker, or the client, said."""
    told = error.args[0]
    return Unavailable(f"{address} does not serve: {told.str() if isinstance(told, KafkaError) else told}")


def _make(admin: AdminClient, address: Address, names: list[str], partitions: int) -> None:
    try:
        brokers = len(admin.list_topics(timeout=ADMIN_S).brokers)
    except KafkaException as error:
        raise unavailable(address, error) from error
    replicas = min(REPLICAS, brokers)
    safe = {"min.insync.replicas": str(SYNC_MIN)} if replicas == REPLICAS else {"flush.messages": "1"}
    if 1 < brokers < REPLICAS:
        replicas = 1  # two replicas of which both must answer stop at the first failure: one that flushes is no worse
    topics = [NewTopic(name, partitions, replicas, config={**SETTINGS, **safe}) for name in names]
    for asked in admin.create_topics(topics, operation_timeout=ADMIN_S, request_timeout=ADMIN_S).values():
        try:
            asked.result(2 * ADMIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another gateway was quicker
                raise unavailable(address, error) from error


def _faults(admin: AdminClient, address: Address, name: str) -> list[str]:
    (asked,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)], request_timeout=ADMIN_S).values()
    try:
        told: Mapping[str, Any] = asked.result(2 * ADMIN_S)
        known = admin.list_topics(name, timeout=ADMIN_S).topics[name].partitions
    except KafkaException as error:
        raise unavailable(address, error) from error
    values = {key: str(entry.value) for key, entry in told.items()}
    return [f"topic {name}: {fault}" for fault in faults(values, min(len(each.replicas) for each in known.values()))]


def faults(values: Mapping[str, str], replicas: int) -> list[str]:
    """What of a topic's settings makes "acknowledged" untrue, each with the value wanted. `replicas`: the fewest that a
    partition has, since a broker takes the smaller of that and `min.insync.replicas` (apache/kafka#14594).
    """
    sync_min = int(values["min.insync.replicas"])
    flushed = replicas == 1 and values["flush.messages"] == "1"
    checks = {
        f"replicas {replicas} and min.insync.replicas {sync_min} (wanted: at least {REPLICAS} and {SYNC_MIN}, "
        "or one replica and flush.messages 1)": flushed or (replicas >= REPLICAS and sync_min >= SYNC_MIN),
        "unclean.leader.election.enable true (wanted: false)": values["unclean.leader.election.enable"] == "false",
        f"cleanup.policy {values['cleanup.policy']} (wanted: delete)": values["cleanup.policy"] == "delete",
        f"retention.ms {values['retention.ms']} (wanted: -1)": values["retention.ms"] == "-1",
        f"retention.bytes {values['retention.bytes']} (wanted: -1)": values["retention.bytes"] == "-1",
        f"max.message.bytes {values['max.message.bytes']} (wanted: at least {MESSAGE_BYTES_MIN})": int(
            values["max.message.bytes"]
        )
        >= MESSAGE_BYTES_MIN,
    }
    return [fault for fault, good in checks.items() if not good]
