"""Notifications: the thin JSON that webhooks carry, and the ids they carry it under."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick import telling
from tallystick.webhooks.types import Type

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Notification:
    """What is told of one entry, the same to every subscription."""

    seq: int
    tenant: int
    type: Type
    nonce: bytes
    """16 random bytes of the entry, which no other entry has."""
    body: bytes
    """The JSON, as it is signed and sent, each time."""


def notifications(work: npt.NDArray[np.void], types: npt.NDArray[np.uint8]) -> list[Notification]:
    """One for each of these entries (`WORK`), whose `types` are known and not `telling.NONE`, in their order."""
    return [
        Notification(each.seq, each.tenant, each.type, each.nonce, body(each.type, each.timestamp_ns, each.data))
        for each in telling.told(work, types)
    ]


def body(type_: Type, timestamp_ns: int, data: dict[str, Any]) -> bytes:
    """The JSON of a notification (SW, "Payload structure"). `timestamp_ns`: when it was decided."""
    return _encode({"type": type_, "timestamp": telling.instant(timestamp_ns), "data": data})


def webhook_id(subscription: int, shard: int, seq: int, nonce: bytes) -> str:
    """The id of the webhook that tells this subscription of this entry: the same however often it is made and sent.

    The entry's nonce is in it: after a restore from a backup another entry may stand at the same position, and a
    receiver that remembers ids must not take the one for the other.
    """
    text = b"tallystick/webhook\0" + subscription.to_bytes(16) + shard.to_bytes(2) + seq.to_bytes(8) + nonce
    return "msg_" + sha256(text).hexdigest()[:32]
