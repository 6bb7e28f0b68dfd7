"""What a history is made of: every call of every client with its answer, and at the end the journal's blocks.

Bytes are those of the records (docs/records.md), so that nothing is lost or prettied on the way: events of 128 bytes,
`RESULT` rows of 16, accounts as `SHOWN_ACCOUNT` rows of 152, transfers as `TRANSFER_EVENT` rows of 128.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec
import numpy as np

from tallystick.answers.port import FOUND_ACCOUNT_EXTRA
from tallystick.records.commands import ACCOUNT_EVENT

VERSION = 1
SHOWN_ACCOUNT = np.dtype([("event", ACCOUNT_EVENT), ("extra", FOUND_ACCOUNT_EXTRA)])
"""An account as a look-up shows it."""


class Told(StrEnum):
    """What kind of answer it was."""

    DECIDED = "decided"
    """The results of a request; `rows` holds them."""
    KEY_REUSED = "key_reused"
    """The request id stands for another request."""
    ACCEPTED = "accepted"
    """Durable; what was decided is not told."""
    NOT_DECIDED = "not_decided"
    """A look-up of a request: nothing is known of it."""
    SHOWN = "shown"
    """A look-up of accounts or transfers; `rows` holds those found, in the order they were asked for."""
    NOTHING_WRITTEN = "nothing_written"
    """The call came to nothing, surely."""
    UNKNOWN = "unknown"
    """The call came to nothing, or not: nobody was told."""


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call. The instants are of one monotonic clock that all clients share, in ns; or numbers of steps."""

    client: int = 0
    gateway: int = 0
    start_ns: int
    """Before anything of it was sent."""
    end_ns: int
    """When the answer was there, or the client gave up."""
    told: Told
    rows: bytes = b""
    note: str = ""
    """For people: the HTTP status, or what broke."""


class Submit(Call, frozen=True, kw_only=True, omit_defaults=True, tag="submit"):
    """A request, sent for the first time or again."""

    tenant: int
    request_id: int
    kind: int
    events: bytes
    metadata: bytes = b""
    expires_at: int = 0
    """ns since the epoch; 0: never."""


class LookUpRequest(Call, frozen=True, kw_only=True, omit_defaults=True, tag="look up request"):
    """Asking what became of a request. `rows` has no meaning in `replayed` here."""

    tenant: int
    request_id: int
    fingerprint: bytes


class LookUpAccounts(Call, frozen=True, kw_only=True, omit_defaults=True, tag="look up accounts"):
    """Asking for accounts, all as of one moment. `ids` is n × 16 bytes, little-endian."""

    tenant: int
    ids: bytes


class LookUpTransfers(Call, frozen=True, kw_only=True, omit_defaults=True, tag="look up transfers"):
    """Asking for transfers, all as of one moment. `ids` is n × 16 bytes, little-endian."""

    tenant: int
    ids: bytes


class ReadBlock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="read block"):
    """A reader of the journal saw this block durable, between these two instants. It may never be lost again."""

    start_ns: int
    end_ns: int
    first: int
    """Seq of its first entry."""
    hash: bytes


class Wound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="wound"):
    """What was done to the platform, for people who read the history."""

    at_ns: int
    what: str


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="block"):
    """A block of the journal as it stood at the end. `entries` and `details` are its rows as bytes."""

    first: int
    hash: bytes
    entries: bytes
    details: bytes


class Start(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="start"):
    """The first record of a history."""

    seed: int
    version: int = VERSION


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="end"):
    """The last record of a history: nothing was cut off. `shortfalls`: what the run could not do on this machine."""

    shortfalls: list[str] = []


AnyCall: TypeAlias = Submit | LookUpRequest | LookUpAccounts | LookUpTransfers
Record: TypeAlias = AnyCall | ReadBlock | Wound | Block | Start | End
