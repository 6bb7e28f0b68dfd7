"""The messages between gateways and the engine. Pure: bytes in, structs out.

Gateways send `Subscription`, `Doorbell` (a block is durable in a lane) and queries. What the engine sends stands behind
a topic: a lane's id (results of one of its blocks) or a client's id (the answer to its query). All of the engine's
messages leave by its writer, in order, after the block they saw is durable.
"""

from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

TOPIC_SIZE = 16
REFUSED = 1


class Subscription(msgspec.Struct, frozen=True, tag="topic", array_like=True):
    """Messages behind this topic are for the gateway that sends this."""

    topic: bytes


class Doorbell(msgspec.Struct, frozen=True, tag="bell", array_like=True):
    """Lane `lane` has a durable block `number`. Losing one costs a poll interval, nothing else."""

    lane: bytes
    number: int


class ResultsQuery(msgspec.Struct, frozen=True, tag="results", array_like=True):
    """What became of a request? `fingerprint` of 32 bytes, or empty for any."""

    client: bytes
    query: int
    tenant: int
    request_id: bytes  # 16 bytes, little-endian
    fingerprint: bytes


class AccountsQuery(msgspec.Struct, frozen=True, tag="accounts", array_like=True):
    """Accounts by id, as of now. `ids` is n × 16 bytes, little-endian."""

    client: bytes
    query: int
    tenant: int
    ids: bytes


class TransfersQuery(msgspec.Struct, frozen=True, tag="transfers", array_like=True):
    """Created transfers by id. `ids` is n × 16 bytes, little-endian."""

    client: bytes
    query: int
    tenant: int
    ids: bytes


class SeqsQuery(msgspec.Struct, frozen=True, tag="seqs", array_like=True):
    """Where in the journal do created transfers stand? `ids` is n × 16 bytes, little-endian."""

    client: bytes
    query: int
    tenant: int
    ids: bytes


class PositionsQuery(msgspec.Struct, frozen=True, tag="positions", array_like=True):
    """How far are lanes taken, durably? A gateway's back-pressure, right even where pushes were lost."""

    client: bytes
    query: int


class Placement(msgspec.Struct, frozen=True, tag="place", array_like=True):
    """Tenant `tenant` lives in shard `shard`, or is on its way from there: take that in, if it is news."""

    client: bytes
    query: int
    tenant: int
    shard: int
    moving: bool


class Carriage(msgspec.Struct, frozen=True, tag="carry", array_like=True):
    """Entries and details of tenant `tenant` from another shard (`records.carrying`): take them in as a block."""

    client: bytes
    query: int
    tenant: int
    entries: bytes
    details: bytes


class StandingQuery(msgspec.Struct, frozen=True, tag="standing", array_like=True):
    """How does a tenant stand in this shard's books, wherever it lives?"""

    client: bytes
    query: int
    tenant: int


Told: TypeAlias = Placement | Carriage | StandingQuery
"""What `tally shard` says and asks."""
Question: TypeAlias = ResultsQuery | AccountsQuery | TransfersQuery | SeqsQuery | PositionsQuery
Inbound: TypeAlias = Doorbell | Question | Told
Sent: TypeAlias = Subscription | Inbound


class BlockResults(msgspec.Struct, frozen=True, tag="decided", array_like=True):
    """Block `number` of the lane in the topic is decided, durably. `rows` is a `RESULT` row for each command;
    `position` the journal's, behind what was decided."""

    number: int
    rows: bytes
    position: int


class Reply(msgspec.Struct, frozen=True, tag="reply", array_like=True):
    """The answer to `query`.

    `status` is 0; or a `RequestStatus` of a query; or `REFUSED`, of what is no question, with the reason in UTF-8 for
    payload. `payload`: `RESULT` rows; or per account found `ACCOUNT_EVENT` and `FOUND_ACCOUNT_EXTRA` (152 bytes); or
    `TRANSFER_EVENT` rows; or a seq of 8 bytes for each transfer found, little-endian; or 24-byte lane positions.
    Of a `StandingQuery`: 8 bytes of home, 8 of accounts, 32 of digest (`engine.placing.Standing`). `position` is the
    journal's, behind all that it shows.
    """

    query: int
    status: int
    payload: bytes
    position: int


Outbound: TypeAlias = BlockResults | Reply

_encoder = msgspec.msgpack.Encoder()
_inbound: msgspec.msgpack.Decoder[Inbound] = msgspec.msgpack.Decoder(Inbound)
_sent: msgspec.msgpack.Decoder[Sent] = msgspec.msgpack.Decoder(Sent)
_outbound: msgspec.msgpack.Decoder[Outbound] = msgspec.msgpack.Decoder(Outbound)


def encode(message: Sent | Outbound) -> bytes:
    """A message as bytes; an outbound one goes behind its 16-byte topic."""
    return _encoder.encode(message)


def decode_sent(data: bytes) -> Sent:
    """Whatever a gateway sends. Raises `msgspec.DecodeError` for anything else."""
    return _sent.decode(data)


def decode_inbound(data: bytes) -> Inbound:
    """A gateway's message to the engine's loop. Raises `msgspec.DecodeError` for anything else."""
    return _inbound.decode(data)


def decode_outbound(data: bytes) -> Outbound:
    """The engine's message, behind the topic. Raises `msgspec.DecodeError` for anything else."""
    return _outbound.decode(data)


def pack_ids(ids: list[int]) -> bytes:
    """Ids as n × 16 bytes, little-endian."""
    return b"".join(number.to_bytes(16, "little") for number in ids)


def unpack_ids(data: bytes) -> npt.NDArray[np.uint64]:
    """n × 16 bytes as an (n, 2) array of low and high halves."""
    return np.frombuffer(data, "<u8").reshape(-1, 2)
