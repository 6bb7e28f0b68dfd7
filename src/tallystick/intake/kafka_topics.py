"""The topics of an intake on Kafka: made with settings under which "acknowledged" is true, refused with others.

What makes a record safe (brokers/topics.py) does not help where Kafka deletes by itself: a week of outage, and
acknowledged payments are gone by `retention.ms`.
"""

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient

from tallystick.brokers import topics
from tallystick.brokers.address import Address
from tallystick.brokers.topics import Topic, unsafe
from tallystick.records.blocks import HEADER_SIZE
from tallystick.records.commands import COMMAND_SIZE, COMMANDS_MAX

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


def ready(admin: AdminClient, address: Address, names: tuple[str, ...], partitions: int) -> dict[str, Topic]:
    """The topics by name, made where they are missing. Raises `Unavailable` if no broker answers in time, `Invalid`
    that names each setting under which an acknowledged record could be lost.
    """
    return topics.ready(admin, address, names, partitions, SETTINGS, faults, "acknowledged payments")


def faults(values: Mapping[str, str], replicas: int) -> list[str]:
    """What of a topic's settings makes "acknowledged" untrue, each with the value wanted. `replicas`: the fewest that a
    partition has.
    """
    checks = {
        f"cleanup.policy {values['cleanup.policy']} (wanted: delete)": values["cleanup.policy"] == "delete",
        f"retention.ms {values['retention.ms']} (wanted: -1)": values["retention.ms"] == "-1",
        f"retention.bytes {values['retention.bytes']} (wanted: -1)": values["retention.bytes"] == "-1",
        f"max.message.bytes {values['max.message.bytes']} (wanted: at least {MESSAGE_BYTES_MIN})": int(
            values["max.message.bytes"]
        )
        >= MESSAGE_BYTES_MIN,
    }
    return unsafe(values, replicas) + [fault for fault, good in checks.items() if not good]
