"""A product's view of money, worked out as transfers: payments of several legs, their limits, conditions, postings and
reversals. Pure: it knows how money is asked to move, the ledger whether it may (ADR 0010).

Every transfer's id derives from the id of the payment, posting or reversal that it is part of, and from its place in
it; a payment is one linked chain, so all of it is done or nothing. Nothing is stored but the transfers themselves.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from msgspec import UNSET, UnsetType

from tallystick import ids, money
from tallystick.errors import Invalid
from tallystick.gateway import decoding
from tallystick.gateway import payment_shapes as shapes
from tallystick.records.commands import TransferFlag

LEGS_MAX = 64
CHECKS_MAX = 16
"""Limits of a payment, and conditions."""
REVERSALS_MAX = 256
"""Of one payment."""
ALL_PENDING = money.AMOUNT_MAX
"""As the amount of a post: all that is pending."""

# Where the ids of a payment's transfers derive from, beyond the 8,190 places of a request's own (`ids.derived`).
LEG_AT, LIMIT_AT, CONDITION_AT, POST_AT, VOID_AT, REVERSE_AT, MARK_AT = range(0x4000, 0xB000, 0x1000)

_EPOCH = date(1970, 1, 1)
_DAYS_MAX = 0xFFFF
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LINKED = int(TransferFlag.LINKED)
_PENDING = int(TransferFlag.PENDING)
_POST = int(TransferFlag.POST_PENDING_TRANSFER)
_VOID = int(TransferFlag.VOID_PENDING_TRANSFER)
_EVENT = struct.Struct("<16s16s16s16s16s16sQIIIHHQ")


@dataclass(frozen=True, slots=True)
class Move:
    """One transfer of a chain. `place` says which part of the request it is, as a field's path; `leg` its leg, if it
    is one's."""

    id: int
    place: str
    leg: int | None = None
    debit: int = 0
    credit: int = 0
    amount: int = 0
    pending_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    dates: int = 0
    timeout: int = 0
    ledger: int = 0
    code: int = 0
    flags: int = 0

    def event(self, linked: bool) -> bytes:
        """Its 128 bytes."""
        return _EVENT.pack(
            *(
                number.to_bytes(16, "little")
                for number in (
                    self.id,
                    self.debit,
                    self.credit,
                    self.amount,
                    self.pending_id,
                    self.user_data_128,
                )
            ),
            self.user_data_64,
            self.dates,
            self.timeout,
            self.ledger,
            self.code,
            self.flags | (_LINKED if linked else 0),
            0,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A transfer of a payment as it stands in the books. `amount` is what moved, or was reserved."""

    debit: int
    credit: int
    amount: int
    pending_id: int
    user_data_128: int
    user_data_64: int
    dates: int
    ledger: int
    code: int
    pending: bool


def chain(moves: Sequence[Move]) -> bytes:
    """The events of moves that are made together or not at all."""
    return b"".join(move.event(linked=move is not moves[-1]) for move in moves)


def packed_dates(value_date: str | UnsetType, booking_date: str | UnsetType) -> int:
    """Both dates as days since 1970-01-01, the value date in the upper 16 bits: what a payment's transfers keep in
    `user_data_32`. 0: left out. Raises `Invalid`."""
    return _days(value_date, "value_date") << 16 | _days(booking_date, "booking_date")


def shown_dates(dates: int) -> tuple[str | UnsetType, str | UnsetType]:
    """Value date and booking date out of `user_data_32`."""
    value, booking = (
        (_EPOCH + timedelta(days)).isoformat() if days else UNSET for days in (dates >> 16, dates & _DAYS_MAX)
    )
    return value, booking


def _days(text: str | UnsetType, field: str) -> int:
    if text is UNSET:
        return 0
    try:
        days = (date.fromisoformat(text) - _EPOCH).days if _DATE.fullmatch(text) else 0
    except ValueError:
        days = 0
    if not 0 < days <= _DAYS_MAX:
        raise Invalid(field, "must be a day from 1970-01-02 to 2149-06-06, written YYYY-MM-DD")
    return days


def payment(asked: shapes.PaymentRequest, payment_id: int) -> list[Move]:
    """The chain of a payment: conditions, limits, legs. Raises `Invalid`."""
    if not 1 <= len(asked.legs) <= LEGS_MAX:
        raise Invalid("legs", f"must have 1 to {LEGS_MAX} items, not {len(asked.legs)}")
    timeout = 0 if asked.timeout is UNSET else asked.timeout
    pending = asked.pending is True
    if timeout and not pending:
        raise Invalid("timeout", "is only for a pending payment")
    dates = packed_dates(asked.value_date, asked.booking_date)
    data_64 = 0 if asked.user_data_64 is UNSET else decoding.unsigned(asked.user_data_64, "user_data_64")
    moves = [*_conditions(asked, payment_id), *_limits(asked, payment_id)]
    for index, leg in enumerate(asked.legs):
        at = f"legs[{index}]"
        moves.append(
            Move(
                ids.derived(payment_id, LEG_AT + index),
                at,
                index,
                ids.parse(leg.debit_account_id, f"{at}.debit_account_id"),
                ids.parse(leg.credit_account_id, f"{at}.credit_account_id"),
                money.parse(leg.amount, f"{at}.amount"),
                0,
                payment_id,
                data_64,
                dates,
                timeout,
                asked.ledger if leg.ledger is UNSET else leg.ledger,
                asked.code if leg.code is UNSET else leg.code,
                _PENDING if pending else 0,
            )
        )
    return moves


def checked_accounts(asked: shapes.PaymentRequest) -> dict[str, int]:
    """Ids of the accounts whose own limit is what a condition or limit relies on, by where they stand."""
    given = [
        *((f"conditions[{index}]", each.account_id) for index, each in enumerate(asked.conditions or ())),
        *((f"limits[{index}]", each.account_id) for index, each in enumerate(asked.limits or ())),
    ]
    return {f"{at}.account_id": ids.parse(text, f"{at}.account_id") for at, text in given}


def _conditions(asked: shapes.PaymentRequest, payment_id: int) -> list[Move]:
    """There and back: an account that has not got so much refuses the way there (TigerBeetle's recipe for balance
    conditions)."""
    moves: list[Move] = []
    _in_bounds(asked.conditions, "conditions")
    for index, each in enumerate(asked.conditions or ()):
        at = f"conditions[{index}]"
        amount = money.parse(each.available_min, f"{at}.available_min")
        moves += _there_and_back(asked, payment_id, CONDITION_AT + 2 * index, at, each, amount)
    return moves


def _limits(asked: shapes.PaymentRequest, payment_id: int) -> list[Move]:
    """A rolling limit: reserved on an account of the limit's own, and given back by time (TigerBeetle's recipe for
    rate limits). The limit of a single payment: there and back."""
    moves: list[Move] = []
    _in_bounds(asked.limits, "limits")
    for index, each in enumerate(asked.limits or ()):
        at = f"limits[{index}]"
        amount = money.parse(each.amount, f"{at}.amount")
        there, back = _there_and_back(asked, payment_id, LIMIT_AT + 2 * index, at, each, amount)
        if each.window:
            moves.append(replace(there, flags=_PENDING, timeout=each.window))
        else:
            moves += (there, back)
    return moves


def _in_bounds(several: Sequence[object] | UnsetType, field: str) -> None:
    if several is not UNSET and len(several) > CHECKS_MAX:
        raise Invalid(field, f"may have {CHECKS_MAX} items, not {len(several)}")


def _there_and_back(
    asked: shapes.PaymentRequest,
    payment_id: int,
    index: int,
    at: str,
    each: shapes.LimitIn | shapes.ConditionIn,
    amount: int,
) -> tuple[Move, Move]:
    account = ids.parse(each.account_id, f"{at}.account_id")
    counter = ids.parse(each.counter_account_id, f"{at}.counter_account_id")
    ledger = asked.ledger if each.ledger is UNSET else each.ledger
    there = Move(
        ids.derived(payment_id, index),
        at,
        None,
        account,
        counter,
        amount,
        user_data_128=payment_id,
        ledger=ledger,
        code=asked.code,
    )
    return there, replace(there, id=ids.derived(payment_id, index + 1), debit=counter, credit=account)


def posting(asked: shapes.PostingRequest, payment_id: int, posting_id: int, legs: int) -> list[Move]:
    """The chain that posts a pending payment's legs, whole or in part. Raises `Invalid`."""
    dates = packed_dates(asked.value_date, asked.booking_date)
    chosen = _chosen(asked.legs, legs)
    return [
        Move(
            ids.derived(posting_id, POST_AT + leg),
            at,
            leg,
            amount=ALL_PENDING if amount is None else amount,
            pending_id=ids.derived(payment_id, LEG_AT + leg),
            dates=dates,
            flags=_POST,
        )
        for leg, amount, at in chosen
    ]


def voiding(payment_id: int, void_id: int, legs: int) -> list[Move]:
    """The chain that gives back what a pending payment reserved."""
    return [
        Move(
            ids.derived(void_id, VOID_AT + leg),
            f"legs[{leg}]",
            leg,
            pending_id=ids.derived(payment_id, LEG_AT + leg),
            flags=_VOID,
        )
        for leg in range(legs)
    ]


def _chosen(asked: Sequence[shapes.PartIn] | UnsetType, legs: int) -> list[tuple[int, int | None, str]]:
    """(leg, amount or None for all of it, where that stands), every leg if none is named. Raises `Invalid`."""
    if asked is UNSET:
        return [(leg, None, f"legs[{leg}]") for leg in range(legs)]
    if not 1 <= len(asked) <= legs:
        raise Invalid("legs", f"must have 1 to {legs} items: so many legs the payment has")
    chosen: list[tuple[int, int | None, str]] = []
    seen: set[int] = set()
    for index, part in enumerate(asked):
        at = f"legs[{index}]"
        if not 0 <= part.leg < legs:
            raise Invalid(f"{at}.leg", f"must be between 0 and {legs - 1}: so many legs the payment has")
        if part.leg in seen:
            raise Invalid(f"{at}.leg", "stands twice")
        seen.add(part.leg)
        chosen.append((part.leg, None if part.amount is UNSET else money.parse(part.amount, f"{at}.amount"), at))
    return chosen


def reversal(
    asked: shapes.ReversalRequest, payment_id: int, reversal_id: int, legs: Sequence[Found], left: Sequence[int]
) -> list[Move]:
    """The chain that reverses legs, whole or in part, the last leg first. `left` is what may still be reversed of each.

    At its end stands the reversal's mark: a transfer of nothing, whose id derives from payment and number, so that
    there is one reversal of that number and no other. Why that is enough: ADR 0010. Raises `Invalid`.
    """
    dates = packed_dates(asked.value_date, asked.booking_date)
    moves = []
    for leg, amount, at in _chosen(asked.legs, len(legs)):
        if amount is None:
            amount = left[leg]
        elif amount > left[leg]:
            raise Invalid(f"{at}.amount", f"is more than the {left[leg]} that is left of leg {leg}")
        if amount == 0:
            continue
        original = legs[leg]
        moves.append(
            Move(
                ids.derived(reversal_id, REVERSE_AT + leg),
                at,
                leg,
                original.credit,
                original.debit,
                amount,
                0,
                payment_id,
                original.user_data_64,
                dates,
                0,
                original.ledger,
                original.code if asked.code is UNSET else asked.code,
            )
        )
    if not moves:
        raise Invalid("legs", "have nothing left to reverse")
    moves.sort(key=lambda move: -(move.leg or 0))
    first = moves[0]
    mark = replace(
        first,
        id=ids.derived(payment_id, MARK_AT + asked.number),
        place="number",
        leg=None,
        amount=0,
        user_data_128=reversal_id,
        user_data_64=asked.number,
    )
    return [*moves, mark]
