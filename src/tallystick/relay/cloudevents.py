"""Entries as CloudEvents: structured mode, JSON (CloudEvents 1.0.2 and its JSON event format).

`data` is the one of a webhook's body; relay/asyncapi.py describes the whole. Of extensions an event has `sequence` (the
position, in 20 digits, so that texts compare as the numbers do), `partitionkey` and `tenant`.
"""

from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec

from tallystick.relay.port import Event
from tallystick.telling import Told, instant

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
TYPE_PREFIX = "tallystick."
SEQUENCE_DIGITS = 20
"""As many as the largest u64 has."""
_SUBJECTS = (("transfer_id", "transfers"), ("account_id", "accounts"), ("pending_id", "transfers"))
"""What an event is about: the first of these that it names."""
_encode = msgspec.json.Encoder().encode


def source(origin: str) -> str:
    """The URI of a shard, by the origin of its audit log: the receipts of what is told bear the same name."""
    return f"https://{quote(origin, safe='/:@!$&()*,;=~.-_[]')}"


def event(told: Told, source: str, shard: int) -> Event:
    """What is told of one entry, the same however often it is made."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id(shard, told.seq, told.nonce),
        "source": source,
        "type": TYPE_PREFIX + told.type,
        "time": instant(told.timestamp_ns),
        "datacontenttype": "application/json",
        "sequence": f"{told.seq:0{SEQUENCE_DIGITS}d}",
        "partitionkey": str(told.tenant),
        "tenant": str(told.tenant),
        "data": told.data,
    }
    about = next((f"{place}/{told.data[name]}" for name, place in _SUBJECTS if name in told.data), "")
    if about:
        attributes["subject"] = about
    return Event(told.tenant, f"{told.tenant}.{told.type}", _encode(attributes))


def event_id(shard: int, seq: int, nonce: bytes) -> str:
    """`SHARD-SEQ-HASH`: the same however often the event is sent.

    The hash is of the entry's nonce, which stays here: after a restore from a backup another entry may stand at that
    position, and a receiver that remembers ids must not take the one for the other.
    """
    text = b"tallystick/event\0" + shard.to_bytes(2) + seq.to_bytes(8) + nonce
    return f"{shard}-{seq}-{sha256(text).hexdigest()[:16]}"
