"""What a gateway asks the notifier about webhooks, and is told. Pure: structs as bytes; `shapes` stand inside them."""

from enum import IntEnum, StrEnum

import msgspec


class Operation(StrEnum):
    """What can be asked. All but the first four and `DELIVERIES`, `DELIVERY` change something, durably."""

    LIST = "webhooks.list"
    GET = "webhooks.get"
    DELIVERIES = "webhooks.deliveries"
    DELIVERY = "webhooks.delivery"
    MAKE = "webhooks.make"
    CHANGE = "webhooks.change"
    DELETE = "webhooks.delete"
    ROTATE = "webhooks.rotate"
    TEST = "webhooks.test"
    AGAIN = "webhooks.again"
    REPLAY = "webhooks.replay"


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One question. What an operation does not need is left at its default."""

    subscription: bytes = b""  # its id, 16 bytes big-endian
    webhook_id: str = ""  # of a delivery
    request_id: bytes = b""  # 16 bytes, of what must be done once
    fingerprint: bytes = b""  # of what it asks
    version: int | None = None  # that the subscription must have
    state: str = ""  # of deliveries
    before: str = ""  # webhook-id of the last delivery of the page before
    limit: int = 0
    body: bytes = b""  # JSON: one of `shapes`, checked against it by the gateway


class Result(IntEnum):
    """What became of it."""

    DONE = 0
    REPEATED = 1  # done before, under this request id; the body is that of then
    REUSED = 2  # the request id stands for something else; nothing was done
    STALE = 3  # the subscription has another version; nothing was done


class Told(msgspec.Struct, frozen=True, array_like=True):
    """The answer: JSON that the client gets as it is, and the subscription's version if it shows one."""

    result: Result
    body: bytes = b""
    version: int | None = None


_encoder = msgspec.msgpack.Encoder()
_asked = msgspec.msgpack.Decoder(Asked)
_told = msgspec.msgpack.Decoder(Told)


def encode(message: Asked | Told) -> bytes:
    """A message as bytes."""
    return _encoder.encode(message)


def decode_asked(data: bytes) -> Asked:
    """A question. Raises `msgspec.DecodeError`."""
    return _asked.decode(data)


def decode_told(data: bytes) -> Told:
    """An answer. Raises `msgspec.DecodeError`."""
    return _told.decode(data)
