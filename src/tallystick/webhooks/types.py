"""What webhooks tell of: one table of types. Never rename or reuse one; docs/webhooks.md is held against it.

A type is decided by the journal's entry alone (`telling`), and each entry is told of under one type at most:
seals are not, nor what did nothing because it `exists` already.
"""

from dataclasses import dataclass
from enum import StrEnum

from tallystick.errors import Invalid

PATTERNS_MAX = 64
"""Patterns of one subscription."""
EVERYTHING = "*"


class Type(StrEnum):
    """What a notification is about."""

    TRANSFER_CREATED = "transfer.created"
    TRANSFER_REFUSED = "transfer.refused"
    TRANSFER_PENDING = "transfer.pending"
    TRANSFER_POSTED = "transfer.posted"
    TRANSFER_VOIDED = "transfer.voided"
    TRANSFER_EXPIRED = "transfer.expired"
    ACCOUNT_OPENED = "account.opened"
    ACCOUNT_REFUSED = "account.refused"
    ACCOUNT_FROZEN = "account.frozen"
    ACCOUNT_UNFROZEN = "account.unfrozen"
    ACCOUNT_LIMIT_CHANGED = "account.limit_changed"
    REVIEW_APPROVED = "review.approved"
    REVIEW_REJECTED = "review.rejected"
    CONTROL_REFUSED = "control.refused"
    WEBHOOK_TEST = "webhook.test"


@dataclass(frozen=True, slots=True)
class Row:
    """One type as people read it."""

    type: Type
    meaning: str
    fields: tuple[str, ...]
    """What `data` holds beside `position`, `shard`, `status` and `timestamp`, which those of an entry have."""


_PAIR = ("debit_account_id", "credit_account_id")
TABLE = (
    Row(
        Type.TRANSFER_CREATED,
        "money moved, in one step",
        ("transfer_id", *_PAIR, "amount", "ledger", "code", "request_id"),
    ),
    Row(
        Type.TRANSFER_PENDING,
        "an amount was reserved, to be posted or given back; a transfer in review is told so, too",
        ("transfer_id", *_PAIR, "amount", "ledger", "code", "request_id"),
    ),
    Row(
        Type.TRANSFER_POSTED,
        "a pending transfer became final, whole or in part; `amount` is that part",
        ("transfer_id", "pending_id", "amount", "request_id"),
    ),
    Row(
        Type.TRANSFER_VOIDED,
        "a pending transfer was given back",
        ("transfer_id", "pending_id", "amount", "request_id"),
    ),
    Row(Type.TRANSFER_EXPIRED, "a pending transfer was given back by time", ("pending_id", "amount")),
    Row(
        Type.TRANSFER_REFUSED,
        "a transfer, a post or a void was refused; `status` says why, `amount` is what was asked",
        ("transfer_id", *_PAIR, "pending_id", "amount", "ledger", "code", "request_id"),
    ),
    Row(Type.ACCOUNT_OPENED, "an account was opened", ("account_id", "ledger", "code", "request_id")),
    Row(Type.ACCOUNT_REFUSED, "an account was not opened", ("account_id", "ledger", "code", "request_id")),
    Row(Type.ACCOUNT_FROZEN, "an account's debits, credits or both were stopped", ("account_id", "side", "request_id")),
    Row(Type.ACCOUNT_UNFROZEN, "they were let through again", ("account_id", "side", "request_id")),
    Row(
        Type.ACCOUNT_LIMIT_CHANGED,
        "an account's credit limit was set",
        ("account_id", "credit_limit", "request_id"),
    ),
    Row(Type.REVIEW_APPROVED, "people let a transfer in review go", ("pending_id", "request_id")),
    Row(Type.REVIEW_REJECTED, "people stopped a transfer in review", ("pending_id", "request_id")),
    Row(
        Type.CONTROL_REFUSED,
        "a freeze, an unfreeze, a limit, an approval or a rejection was refused",
        ("account_id", "pending_id", "request_id"),
    ),
    Row(
        Type.WEBHOOK_TEST,
        "somebody asked for a test; of no entry, and sent to that one subscription, whatever it asks for",
        ("subscription_id",),
    ),
)
"""In the order of the documentation. A field that an entry leaves zero is left out."""

TOLD = tuple(row.type for row in TABLE if row.type is not Type.WEBHOOK_TEST)
"""What can be subscribed to."""
assert {row.type for row in TABLE} == set(Type)


def asked(patterns: list[str]) -> frozenset[Type]:
    """The types that a subscription's patterns ask for: names, `transfer.*` and the like, or `*` for all.

    Raises `Invalid` naming `types` and the place for a pattern that fits no type.
    """
    if not 1 <= len(patterns) <= PATTERNS_MAX:
        raise Invalid("types", f"must hold 1 to {PATTERNS_MAX} types")
    found: set[Type] = set()
    for at, pattern in enumerate(patterns):
        fitting = {type_ for type_ in TOLD if _fits(pattern, type_)}
        if not fitting:
            raise Invalid(f"types[{at}]", "is no type; there are " + ", ".join([EVERYTHING, *TOLD]))
        found |= fitting
    return frozenset(found)


def _fits(pattern: str, type_: Type) -> bool:
    if pattern.endswith(".*"):
        return type_.startswith(pattern.removesuffix("*"))
    return pattern in (EVERYTHING, type_)
