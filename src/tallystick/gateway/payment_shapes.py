"""The JSON of payments as structs (`shapes` has the rest, and the conventions)."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.gateway.shapes import (
    U16,
    U32,
    U64,
    Amount,
    Id,
    Instant,
    Key,
    Metadata,
    Outcome,
    OutId,
    OutInstant,
    OutNumber,
    Person,
    documented,
)

Date = Annotated[str, documented("YYYY-MM-DD, 1970-01-02 to 2149-06-06.", format="date", examples=["2026-11-30"])]


class LegIn(Struct, forbid_unknown_fields=True):
    """One movement of a payment. `ledger` and `code` default to the payment's."""

    debit_account_id: Id
    credit_account_id: Id
    amount: Amount
    ledger: U32 | UnsetType = UNSET
    code: U16 | UnsetType = UNSET


class LimitIn(Struct, forbid_unknown_fields=True):
    """Count `amount` against a limit account, one that is flagged `debits_must_not_exceed_credits`: its credit limit is
    the limit. `window`: seconds until it stops counting; 0, the default: it counts for this payment alone."""

    account_id: Id
    counter_account_id: Annotated[str, documented("Takes the other side: any account of the ledger without limit.")]
    amount: Amount
    window: U32 = 0
    ledger: U32 | UnsetType = UNSET


class ConditionIn(Struct, forbid_unknown_fields=True):
    """Only if the account, flagged `debits_must_not_exceed_credits`, has so much available before the payment."""

    account_id: Id
    counter_account_id: Annotated[str, documented("Takes the other side: any account of the ledger without limit.")]
    available_min: Amount
    ledger: U32 | UnsetType = UNSET


class PaymentRequest(Struct, forbid_unknown_fields=True):
    """1 to 64 legs that are made together or not at all, after up to 16 conditions and 16 limits."""

    legs: Annotated[list[LegIn], documented("In the order in which they are made.", minItems=1, maxItems=64)]
    ledger: U32
    code: U16
    id: Id | UnsetType = UNSET
    pending: bool | UnsetType = UNSET
    timeout: U32 | UnsetType = UNSET
    value_date: Date | UnsetType = UNSET
    booking_date: Date | UnsetType = UNSET
    user_data_64: U64 | UnsetType = UNSET
    limits: Annotated[list[LimitIn], documented("", maxItems=16)] | UnsetType = UNSET
    conditions: Annotated[list[ConditionIn], documented("", maxItems=16)] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    metadata_person: Person | UnsetType = UNSET
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class PartIn(Struct, forbid_unknown_fields=True):
    """A leg of the payment by its place, and how much of it; all that is left if that is left out."""

    leg: Annotated[int, Meta(ge=0, le=63)]
    amount: Amount | UnsetType = UNSET


Parts = Annotated[list[PartIn], documented("All legs if left out.", minItems=1, maxItems=64)]


class PostingRequest(Struct, forbid_unknown_fields=True):
    """Make a pending payment final: each leg whole, or those named, whole or in part. `id` is the posting's own."""

    id: Id | UnsetType = UNSET
    legs: Parts | UnsetType = UNSET
    value_date: Date | UnsetType = UNSET
    booking_date: Date | UnsetType = UNSET
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class VoidRequest(Struct, forbid_unknown_fields=True):
    """Give back what a pending payment reserved. `id` is the voiding's own."""

    id: Id | UnsetType = UNSET
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class ReversalRequest(Struct, forbid_unknown_fields=True):
    """Reverse a payment, whole or in part, by new transfers. `number`: which of the payment's reversals this is, from
    1; there is one of each. `posting_id`: which posting of a pending payment. `id` is the reversal's own."""

    id: Id | UnsetType = UNSET
    number: Annotated[int, Meta(ge=1, le=256)] = 1
    posting_id: Id | UnsetType = UNSET
    legs: Parts | UnsetType = UNSET
    code: U16 | UnsetType = UNSET
    value_date: Date | UnsetType = UNSET
    booking_date: Date | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    metadata_person: Person | UnsetType = UNSET
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class PaymentOutcome(Struct, frozen=True):
    """A payment, posting, voiding or reversal was made. `timestamp` is that of its last leg."""

    id: OutId
    status: str
    timestamp: OutInstant
    request_id: OutId
    legs: list[Outcome]


class LegOut(Struct, frozen=True):
    """One leg as it was made: `amount` moved, or was reserved if it is pending. `reversed`: so much of it since."""

    id: OutId
    debit_account_id: OutId
    credit_account_id: OutId
    amount: OutNumber
    ledger: int
    code: int
    timestamp: OutInstant
    pending: bool
    timeout: int
    reversed: OutNumber


class ReversalOut(Struct, frozen=True):
    """A reversal of a payment."""

    id: OutId
    number: int
    timestamp: OutInstant


class PaymentOut(Struct, frozen=True):
    """A payment that was made, and its reversals; the next one has the number after theirs. What became of a pending
    one is told by the transfers that name it as `user_data_128`."""

    id: OutId
    legs: list[LegOut]
    user_data_64: OutNumber
    reversals: list[ReversalOut]
    value_date: str | UnsetType = UNSET
    booking_date: str | UnsetType = UNSET
