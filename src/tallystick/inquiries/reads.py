"""What the projector is asked over HTTP, and the JSON that it answers. Pure: questions, and bodies as structs.

Names, ids and numbers are those of the API (gateway/shapes.py): ids are 32 hex digits, amounts, instants and positions
strings of decimal digits. The gateway passes bodies on as they come; the structs are also its description of them.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
POSITION_WAIT_S = 1.0
"""How long an answer waits for the position that its asker names."""

Id = Annotated[str, Meta(description="32 hex digits.", pattern="^[0-9a-f]{32}$")]
Number = Annotated[str, Meta(description="Decimal digits.", pattern="^[0-9]+$")]
Signed = Annotated[str, Meta(description="Decimal digits, below zero with a minus.", pattern="^-?[0-9]+$")]
Instant = Annotated[str, Meta(description="Nanoseconds since the Unix epoch, as decimal digits.", pattern="^[0-9]+$")]
Cursor = Annotated[str, Meta(description="Opaque and signed; send it back as `cursor` for the next page.")]


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every question has."""

    position: int = 0
    """At least this position must be in the answer (`Tally-Position`)."""
    limit: int = LIMIT_DEFAULT
    cursor: str = ""
    """Of the page before; it fixes the position and the place."""


class BalanceAsked(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """Balances of one account: now, at an instant (ns; what was decided by then), or at a position."""

    account_id: bytes
    """16 bytes, big-endian, as all ids here."""
    at_ns: int | None = None
    at_position: int | None = None


class StatementAsked(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """Lines of one account decided in [`since_ns`, `until_ns`), oldest first, as `media`."""

    account_id: bytes
    since_ns: int = 0
    until_ns: int | None = None
    media: str = "application/json"


class TransfersAsked(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """Transfers of a tenant that meet all of this, newest first or oldest first."""

    account_id: bytes = b""
    amount_min: bytes = b""
    amount_max: bytes = b""
    since_ns: int = 0
    until_ns: int | None = None
    ledger: int = 0
    code: int = 0
    user_data_128: bytes = b""
    user_data_64: int = 0
    user_data_32: int = 0
    metadata: bytes = b""
    oldest_first: bool = False


class AccountsAsked(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """Accounts of a tenant that meet all of this, oldest first; balances as of the page's position."""

    ledger: int = 0
    code: int = 0
    user_data_128: bytes = b""
    user_data_64: int = 0
    user_data_32: int = 0


class TotalsAsked(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """Trial balance of a tenant: one ledger, or all (0)."""

    ledger: int = 0


class Read(Struct, frozen=True, array_like=True):
    """The answer to any of these: the body to pass on, and what goes into its headers."""

    position: int
    cursor: str
    """Of the next page; empty: there is none."""
    body: bytes


OPERATIONS: dict[str, type[Asked]] = {
    "balance": BalanceAsked,
    "statement": StatementAsked,
    "transfers": TransfersAsked,
    "accounts": AccountsAsked,
    "totals": TotalsAsked,
}

_encoder = msgspec.msgpack.Encoder()
_decoders = {name: msgspec.msgpack.Decoder(asked) for name, asked in OPERATIONS.items()}
_reads = msgspec.msgpack.Decoder(Read)


def encode(message: Asked | Read) -> bytes:
    """A question or an answer as bytes."""
    return _encoder.encode(message)


def decode_asked(operation: str, data: bytes) -> Asked:
    """The question. Raises `msgspec.DecodeError`; KeyError for an operation that is none of these."""
    return _decoders[operation].decode(data)


def decode_read(data: bytes) -> Read:
    """The answer. Raises `msgspec.DecodeError`."""
    return _reads.decode(data)


class BalancesOut(Struct, frozen=True):
    """How an account stands. `balance` is posted credits less posted debits."""

    debits_pending: Number
    debits_posted: Number
    credits_pending: Number
    credits_posted: Number
    balance: Signed


class BalanceOut(Struct, frozen=True):
    """Balances of an account at a position: all entries before it, and none from it on. `sequence`: its last line."""

    account_id: Id
    ledger: int
    code: int
    position: Number
    sequence: Number
    balances: BalancesOut


class LineOut(Struct, frozen=True, omit_defaults=True):
    """One entry that concerns the account. `sequence` counts them from 1 without a gap; `position` is the entry's.

    `type`: `open`, `transfer`, `pending`, `post`, `void`, `expire`, `approve`, `reject`, `freeze`, `unfreeze` or
    `credit_limit`. The last three, and some approvals, move nothing and have no `side`. `amount` is what moved: of a
    pending transfer what it reserves, of a void or an expiry what is given back. `value` is the sides or the limit.
    """

    sequence: Number
    position: Number
    timestamp: Instant
    type: str
    balances: BalancesOut
    side: str | UnsetType = UNSET
    amount: Number | UnsetType = UNSET
    transfer_id: Id | UnsetType = UNSET
    pending_id: Id | UnsetType = UNSET
    other_account_id: Id | UnsetType = UNSET
    code: int | UnsetType = UNSET
    user_data_128: Id | UnsetType = UNSET
    user_data_64: Number | UnsetType = UNSET
    user_data_32: int | UnsetType = UNSET
    metadata_commitment: str | UnsetType = UNSET
    value: Number | UnsetType = UNSET


class StatementOut(Struct, frozen=True):
    """A page of an account's statement. `opening` is before its first line, `closing` after its last; the closing of
    a page is the opening of the next. `sequence`: of the line before the first one, 0 before all of them."""

    account_id: Id
    ledger: int
    code: int
    position: Number
    sequence: Number
    opening: BalancesOut
    lines: list[LineOut]
    closing: BalancesOut
    cursor: Cursor | None


class TransferFound(Struct, frozen=True, omit_defaults=True):
    """A transfer that was created. `amount` is what moved. `state`, of a pending one at the time of the page: `open`,
    `posted`, `voided` or `expired`."""

    id: Id
    debit_account_id: Id
    credit_account_id: Id
    amount: Number
    pending_id: Id
    user_data_128: Id
    user_data_64: Number
    user_data_32: int
    timeout: int
    ledger: int
    code: int
    flags: list[str]
    timestamp: Instant
    position: Number
    debit_sequence: Number
    credit_sequence: Number
    metadata_commitment: str | UnsetType = UNSET
    state: str | UnsetType = UNSET


class TransfersFound(Struct, frozen=True):
    """A page of transfers. A page may have fewer than `limit` and a `cursor` all the same: the search went as far as
    its time allowed, and the next page goes on there."""

    transfers: list[TransferFound]
    position: Number
    cursor: Cursor | None


class AccountFound(Struct, frozen=True):
    """An account; balances at the page's position, `frozen`, `credit_limit` and flags at the time of the page."""

    id: Id
    debits_pending: Number
    debits_posted: Number
    credits_pending: Number
    credits_posted: Number
    user_data_128: Id
    user_data_64: Number
    user_data_32: int
    ledger: int
    code: int
    flags: list[str]
    timestamp: Instant
    credit_limit: Number
    frozen: str
    sequence: Number


class AccountsFound(Struct, frozen=True):
    """A page of accounts."""

    accounts: list[AccountFound]
    position: Number
    cursor: Cursor | None


class CodeTotals(Struct, frozen=True):
    """Sums over all accounts of a ledger with one code."""

    code: int
    accounts: Number
    debits_pending: Number
    debits_posted: Number
    credits_pending: Number
    credits_posted: Number
    balance: Signed


class LedgerTotals(Struct, frozen=True):
    """A ledger's trial balance: what is debited is credited, so both sums of the ledger are equal: `balanced`."""

    ledger: int
    accounts: Number
    debits_pending: Number
    debits_posted: Number
    credits_pending: Number
    credits_posted: Number
    balanced: bool
    codes: list[CodeTotals]


class TotalsOut(Struct, frozen=True):
    """Trial balances of a tenant's ledgers."""

    ledgers: list[LedgerTotals]
    position: Number
