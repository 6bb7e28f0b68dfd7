"""The messages between gateways and a follower. Pure: bytes in, structs out."""

from enum import IntEnum

import msgspec

from tallystick.errors import Invalid, Unavailable
from tallystick.inquiries.port import NotFound


class Outcome(IntEnum):
    """What became of an inquiry."""

    DONE = 0
    NOT_FOUND = 1  # the body says what, as text
    INVALID = 2  # the body: field, a zero byte, what is wrong with it
    UNAVAILABLE = 3  # the body says why


class Inquiry(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway asks. Nobody waits for the answer after `deadline_ns` of the machine's monotonic clock."""

    number: int
    operation: str
    tenant: int
    deadline_ns: int
    body: bytes


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the inquiry of this number, on the same connection."""

    number: int
    outcome: Outcome
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_inquiries = msgspec.msgpack.Decoder(Inquiry)
_replies = msgspec.msgpack.Decoder(Reply)


def encode(message: Inquiry | Reply) -> bytes:
    """A message as bytes."""
    return _encoder.encode(message)


def decode_inquiry(data: bytes) -> Inquiry:
    """What a gateway sent. Raises `msgspec.DecodeError` for anything else."""
    return _inquiries.decode(data)


def decode_reply(data: bytes) -> Reply:
    """What a follower sent. Raises `msgspec.DecodeError` for anything else."""
    return _replies.decode(data)


def answered(reply: Reply) -> bytes:
    """The body of an answer. Raises what the follower did: `Invalid`, `NotFound`, `Unavailable`."""
    if reply.outcome is Outcome.DONE:
        return reply.body
    text = reply.body.decode()
    if reply.outcome is Outcome.INVALID:
        field, _, message = text.partition("\0")
        raise Invalid(field, message)
    if reply.outcome is Outcome.NOT_FOUND:
        raise NotFound(text)
    raise Unavailable(text)
