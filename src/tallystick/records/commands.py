"""The command record: one thing asked, 256 bytes, little-endian (docs/records.md).

The first 128 bytes are the *event*: TigerBeetle's Transfer or Account, field for field, or a control record of
ours. The other 128 are the *frame* that every kind shares. A block of n commands is `n × 256` bytes, which NumPy
reads without parsing, whether they came in a file, a Kafka message or a RabbitMQ message.

128-bit fields are two 64-bit ones, `…_lo` and `…_hi`; `flag_bits` is TigerBeetle's `flags` (that name clashes
with `ndarray.flags` in interpreted code).
"""

import hashlib
import struct
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

COMMAND_SIZE = 256
EVENT_SIZE = 128
COMMANDS_MAX = 8190
"""Commands in a request, in a command block, and in one batch of the engine."""
VERSION = 1


class Kind(IntEnum):
    """What a command asks for, and what its entry is about. From SEAL on they are kinds of entries only."""

    TRANSFER = 1
    ACCOUNT = 2
    CONTROL = 3
    SEAL = 4
    EXPIRY = 5
    PLACEMENT = 6


class AccountFlag(IntFlag):
    """TigerBeetle's `Account.flags`."""

    LINKED = 1 << 0
    DEBITS_MUST_NOT_EXCEED_CREDITS = 1 << 1
    CREDITS_MUST_NOT_EXCEED_DEBITS = 1 << 2
    HISTORY = 1 << 3
    IMPORTED = 1 << 4
    CLOSED = 1 << 5


class TransferFlag(IntFlag):
    """TigerBeetle's `Transfer.flags`."""

    LINKED = 1 << 0
    PENDING = 1 << 1
    POST_PENDING_TRANSFER = 1 << 2
    VOID_PENDING_TRANSFER = 1 << 3
    BALANCING_DEBIT = 1 << 4
    BALANCING_CREDIT = 1 << 5
    CLOSING_DEBIT = 1 << 6
    CLOSING_CREDIT = 1 << 7
    IMPORTED = 1 << 8


class ControlFlag(IntFlag):
    """A control command's flags."""

    LINKED = 1 << 0
    """Stands or falls with the next one, so that a chain under review is approved as a chain."""


class Opcode(IntEnum):
    """What a control command does: to its account, or to the pending transfer in review whose id is its `value`."""

    FREEZE = 1
    UNFREEZE = 2
    CREDIT_LIMIT = 3
    APPROVE = 4
    REJECT = 5


class Side(IntFlag):
    """Which movements a freeze stops; the `value` of FREEZE and UNFREEZE."""

    DEBITS = 1
    CREDITS = 2
    BOTH = 3


def u128(name: str) -> list[tuple[str, str]]:
    """A 128-bit little-endian field as two 64-bit ones."""
    return [(f"{name}_lo", "<u8"), (f"{name}_hi", "<u8")]


_TRANSFER_EVENT = [
    *u128("id"),
    *u128("debit_account_id"),
    *u128("credit_account_id"),
    *u128("amount"),
    *u128("pending_id"),
    *u128("user_data_128"),
    ("user_data_64", "<u8"),
    ("user_data_32", "<u4"),
    ("timeout", "<u4"),
    ("ledger", "<u4"),
    ("code", "<u2"),
    ("flag_bits", "<u2"),
    ("timestamp", "<u8"),
]
_ACCOUNT_EVENT = [
    *u128("id"),
    *u128("debits_pending"),
    *u128("debits_posted"),
    *u128("credits_pending"),
    *u128("credits_posted"),
    *u128("user_data_128"),
    ("user_data_64", "<u8"),
    ("user_data_32", "<u4"),
    ("reserved", "<u4"),
    ("ledger", "<u4"),
    ("code", "<u2"),
    ("flag_bits", "<u2"),
    ("timestamp", "<u8"),
]
_CONTROL_EVENT = [
    *u128("account_id"),
    *u128("value"),  # sides of a freeze, the credit limit in minor units, or the id of a transfer in review
    *u128("actor"),  # opaque id of the person who did it
    ("reason", "<u4"),
    ("opcode", "<u2"),
    ("flag_bits", "<u2"),
    ("reserved_64", "<u8", (9,)),
]
_FRAME = [
    *u128("request_id"),
    ("tenant", "<u8"),
    ("submitted_at", "<u8"),  # ns since the epoch, by the gateway's clock
    ("expires_at", "<u8"),  # ns; 0: never
    ("fingerprint", "<u8", (4,)),  # SHA-256 as its 32 bytes
    ("metadata", "<u8", (4,)),  # 32-byte commitment, zero if none
    ("device_pseudonym", "<u8"),  # keyed pseudonyms, inputs of screening
    ("network_pseudonym", "<u8"),
    ("index", "<u2"),  # of the command in its request
    ("count", "<u2"),  # of commands in the request
    ("kind", "u1"),  # never zero, so no 512-byte sector of a block is all zero (ADR 0001)
    ("version", "u1"),
    ("reserved_frame", "<u2"),
]

TRANSFER_EVENT = np.dtype(_TRANSFER_EVENT)
ACCOUNT_EVENT = np.dtype(_ACCOUNT_EVENT)
CONTROL_EVENT = np.dtype(_CONTROL_EVENT)
TRANSFER = np.dtype(_TRANSFER_EVENT + _FRAME)
ACCOUNT = np.dtype(_ACCOUNT_EVENT + _FRAME)
CONTROL = np.dtype(_CONTROL_EVENT + _FRAME)
COMMAND = np.dtype([("event", "<u8", (16,)), *_FRAME])
"""Any command, its event unread."""

assert {TRANSFER.itemsize, ACCOUNT.itemsize, CONTROL.itemsize, COMMAND.itemsize} == {COMMAND_SIZE}

EVENTS = {Kind.TRANSFER: TRANSFER_EVENT, Kind.ACCOUNT: ACCOUNT_EVENT, Kind.CONTROL: CONTROL_EVENT}


_ASKED = struct.Struct("<BH")
_sha256 = hashlib.sha256


def fingerprint(kind: int, count: int, events: bytes, metadata: bytes = b"") -> bytes:
    """SHA-256 of what a client asked (ADR 0003): 1 byte kind, 2 bytes count, the 128-byte events, the metadata.

    `metadata` is the client's metadata bytes, the 32-byte commitments in order of events, or nothing if it sent
    none. Never hash what the gateway made: a retry must have the fingerprint of the first try.
    """
    return _sha256(_ASKED.pack(kind, count) + events + metadata).digest()


def frame(
    events: bytes,
    kind: Kind,
    tenant: int,
    request_id: int,
    submitted_at: int,
    expires_at: int = 0,
    metadata: bytes = b"",
) -> npt.NDArray[np.void]:
    """One request's events (n × 128 bytes) as its n command records, fingerprint included.

    `metadata` is empty or n × 32 bytes. Times are nanoseconds. This is the way of batches; the gateway packs a
    single payment with `pack_one`, which gives the same bytes.
    """
    count = len(events) // EVENT_SIZE
    commands = np.zeros(count, COMMAND)
    commands["event"] = np.frombuffer(events, "<u8").reshape(count, 16)
    commands["request_id_lo"] = request_id & 0xFFFFFFFFFFFFFFFF
    commands["request_id_hi"] = request_id >> 64
    commands["tenant"] = tenant
    commands["submitted_at"] = submitted_at
    commands["expires_at"] = expires_at
    commands["fingerprint"] = np.frombuffer(fingerprint(kind, count, events, metadata), "<u8")
    if metadata:
        commands["metadata"] = np.frombuffer(metadata, "<u8").reshape(count, 4)
    commands["index"] = np.arange(count, dtype="<u2")
    commands["count"] = count
    commands["kind"] = kind
    commands["version"] = VERSION
    return commands


_FRAME_PACKED = struct.Struct("<16sQQQ32s32sQQHHBBH")
assert _FRAME_PACKED.size == COMMAND_SIZE - EVENT_SIZE
_NO_METADATA = bytes(32)


def pack_one(
    event: bytes,
    kind: Kind,
    tenant: int,
    request_id: int,
    submitted_at: int,
    expires_at: int = 0,
    metadata: bytes = b"",
) -> tuple[bytes, bytes]:
    """A request of one event as its command record, and its fingerprint: what `frame` gives, without an array.

    `metadata` is empty or 32 bytes.
    """
    digest = fingerprint(kind, 1, event, metadata)
    key = request_id.to_bytes(16, "little")
    framed = _FRAME_PACKED.pack(
        key, tenant, submitted_at, expires_at, digest, metadata or _NO_METADATA, 0, 0, 0, 1, kind, VERSION, 0
    )
    return event + framed, digest
