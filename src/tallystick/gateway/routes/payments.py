"""Payments: several legs as one thing, with limits and conditions; posted, voided and reversed by reference.

All of it becomes linked transfers of one request (`gateway.payments`); what is looked up here first never changes once
it is in the books, so that the same request asks the same of the ledger whenever it is sent.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway import answering, decoding, headers, payments, shapes, texts
from tallystick.gateway import payment_shapes as told
from tallystick.gateway.answering import JSON, TRANSFER, Answer
from tallystick.gateway.auth import PAY, READ
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.payments import LEG_AT, LEGS_MAX, MARK_AT, POST_AT, REVERSALS_MAX, REVERSE_AT, Found, Move
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import looking
from tallystick.gateway.routes.looking import Row, wide
from tallystick.gateway.submitting import SUBMIT_PROBLEMS, rows_of
from tallystick.gateway.undecided import NOT_KNOWN
from tallystick.metadata.store import Text
from tallystick.records.commands import AccountFlag, TransferFlag

MARKS_AT_ONCE = 16
"""Reversals looked for at a time; nearly all payments have none."""

_Shape = TypeVar("_Shape", told.PaymentRequest, told.PostingRequest, told.VoidRequest, told.ReversalRequest)
_payment_decoder = msgspec.json.Decoder(told.PaymentRequest)
_posting_decoder = msgspec.json.Decoder(told.PostingRequest)
_void_decoder = msgspec.json.Decoder(told.VoidRequest)
_reversal_decoder = msgspec.json.Decoder(told.ReversalRequest)


async def create(call: Call) -> Answer:
    """Make a payment."""
    asked, request_id, own_id = _understood(call, _payment_decoder)
    moves = payments.payment(asked, own_id)
    text = texts.found(asked.metadata, asked.metadata_person, asked.legs[0].debit_account_id, request_id)
    await _check_limited(call, payments.checked_accounts(asked))
    return await _make(call, asked, own_id, request_id, moves, text)


async def post(call: Call) -> Answer:
    """Post a pending payment."""
    asked, request_id, own_id = _understood(call, _posting_decoder)
    payment_id = looking.path_id(call)
    legs = await _legs(call, payment_id)
    return await _make(call, asked, own_id, request_id, payments.posting(asked, payment_id, own_id, len(legs)))


async def void(call: Call) -> Answer:
    """Void a pending payment."""
    asked, request_id, own_id = _understood(call, _void_decoder)
    payment_id = looking.path_id(call)
    legs = await _legs(call, payment_id)
    return await _make(call, asked, own_id, request_id, payments.voiding(payment_id, own_id, len(legs)))


async def reverse(call: Call) -> Answer:
    """Reverse a payment, whole or in part."""
    asked, request_id, own_id = _understood(call, _reversal_decoder)
    text = texts.found(asked.metadata, asked.metadata_person, UNSET, request_id)
    payment_id = looking.path_id(call)
    legs = [_found(row) for row in await _legs(call, payment_id)]
    if asked.posting_id is UNSET:
        if any(leg.pending for leg in legs):
            raise Invalid("posting_id", "is missing: of a pending payment, one of its postings is reversed")
        moved = [leg.amount for leg in legs]
    else:
        moved = await _posted(call, payment_id, ids.parse(asked.posting_id, "posting_id"), len(legs))
    marks = await _look_up(call, [ids.derived(payment_id, MARK_AT + number) for number in range(1, asked.number)])
    if len(marks) < asked.number - 1:
        raise Invalid("number", f"is too high: this payment has had {len(marks)} reversals")
    before = await _reversed(call, marks, len(legs))
    left = [max(0, amount - back) for amount, back in zip(moved, before, strict=True)]
    moves = payments.reversal(asked, payment_id, own_id, legs, left)
    return await _make(call, asked, own_id, request_id, moves, text)


async def get_one(call: Call) -> Answer:
    """A payment that was made, with its reversals."""
    payment_id = looking.path_id(call)
    legs = await _legs(call, payment_id)
    marks: list[Row] = []
    while len(marks) % MARKS_AT_ONCE == 0 and len(marks) < REVERSALS_MAX:
        numbers = range(len(marks) + 1, len(marks) + 1 + MARKS_AT_ONCE)
        more = await _look_up(call, [ids.derived(payment_id, MARK_AT + number) for number in numbers])
        if not more:
            break
        marks += more
    back = await _reversed(call, marks, len(legs))
    value_date, booking_date = payments.shown_dates(int(legs[0]["user_data_32"]))
    return looking.answer(
        told.PaymentOut(
            ids.show(payment_id),
            [_leg(row, amount) for row, amount in zip(legs, back, strict=True)],
            str(legs[0]["user_data_64"]),
            [
                told.ReversalOut(ids.show(wide(mark, "user_data_128")), number, str(mark["timestamp"]))
                for number, mark in enumerate(marks, 1)
            ],
            value_date,
            booking_date,
        )
    )


def _understood(call: Call, decoder: "msgspec.json.Decoder[_Shape]") -> tuple[_Shape, int, int]:
    """The body, the request's id, and the id of what it makes: its own, or else the request's."""
    asked = decoding.decode(decoder, call.body)
    decoding.refuse_repeated_keys(call.body, _keys(asked))
    request_id = headers.request_id(call.headers, asked.request_id or None)
    own_id = request_id if asked.id is UNSET else ids.parse(asked.id)
    if own_id in (0, ids.ID_MAX):
        raise Invalid("id", "must not be zero or all ones")
    return asked, request_id, own_id


def _keys(asked: Any) -> int:
    """How many keys the body has, as far as they were not left out."""
    if isinstance(asked, list):
        return sum(map(_keys, asked))
    if isinstance(asked, dict):
        return len(asked)
    if not isinstance(asked, msgspec.Struct):
        return 0
    fields = astuple(asked)
    return decoding.set_count(fields) + sum(map(_keys, fields))


async def _check_limited(call: Call, accounts: dict[str, int]) -> None:
    """Raises `Invalid` where an account has no limit of its own: the ledger would let everything pass there."""
    if not accounts:
        return
    found = await call.service.link.accounts(call.principal.tenant, list(set(accounts.values())))
    limited = {
        wide(row, "id") for row, _ in found if int(row["flag_bits"]) & AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS
    }
    for at, account in accounts.items():
        if account not in limited:
            raise Invalid(at, "must be an account that is flagged debits_must_not_exceed_credits")


async def _look_up(call: Call, wanted: list[int]) -> list[Row]:
    """Those of the transfers that were created, in this order."""
    return list(await call.service.link.transfers(call.principal.tenant, wanted)) if wanted else []


async def _legs(call: Call, payment_id: int) -> list[Row]:
    """All legs of a payment. Raises the problem `not_found`."""
    legs = await _look_up(call, [ids.derived(payment_id, LEG_AT + index) for index in range(LEGS_MAX)])
    if not legs:
        raise Problem("not_found", f"this tenant has no payment {ids.show(payment_id)}")
    return legs


async def _posted(call: Call, payment_id: int, posting_id: int, legs: int) -> list[int]:
    """What a posting made final of each leg; 0 for those it did not name. Raises the problem `not_found`."""
    posts = await _look_up(call, [ids.derived(posting_id, POST_AT + leg) for leg in range(legs)])
    by_leg = {wide(row, "pending_id"): wide(row, "amount") for row in posts}
    moved = [by_leg.get(ids.derived(payment_id, LEG_AT + leg), 0) for leg in range(legs)]
    if not any(moved):
        raise Problem("not_found", f"{ids.show(posting_id)} is no posting of this payment", field="posting_id")
    return moved


async def _reversed(call: Call, marks: Sequence[Row], legs: int) -> list[int]:
    """How much of each leg the reversals with these marks have reversed."""
    reversals = [wide(mark, "user_data_128") for mark in marks]
    wanted = {ids.derived(reversal, REVERSE_AT + leg): leg for reversal in reversals for leg in range(legs)}
    back = [0] * legs
    for row in await _look_up(call, list(wanted)):
        back[wanted[wide(row, "id")]] += wide(row, "amount")
    return back


def _found(row: Row) -> Found:
    return Found(
        wide(row, "debit_account_id"),
        wide(row, "credit_account_id"),
        wide(row, "amount"),
        wide(row, "pending_id"),
        wide(row, "user_data_128"),
        int(row["user_data_64"]),
        int(row["user_data_32"]),
        int(row["ledger"]),
        int(row["code"]),
        bool(int(row["flag_bits"]) & TransferFlag.PENDING),
    )


def _leg(row: Row, back: int) -> told.LegOut:
    return told.LegOut(
        ids.show(wide(row, "id")),
        ids.show(wide(row, "debit_account_id")),
        ids.show(wide(row, "credit_account_id")),
        str(wide(row, "amount")),
        int(row["ledger"]),
        int(row["code"]),
        str(row["timestamp"]),
        bool(int(row["flag_bits"]) & TransferFlag.PENDING),
        int(row["timeout"]),
        str(back),
    )


async def _make(
    call: Call, asked: _Shape, own_id: int, request_id: int, moves: list[Move], text: Text | None = None
) -> Answer:
    """Have the chain decided, and answer about it as one thing. Each leg commits to the text, which is kept first."""
    promises = await texts.keep(call, [] if text is None else [text])
    metadata = texts.joined(promise if move.leg is not None else b"" for promise in promises for move in moves)
    digest, rows = await rows_of(call, TRANSFER, payments.chain(moves), metadata, request_id, asked.expires_at)
    if rows is NOT_KNOWN:
        return answering.not_decided(request_id, digest, TRANSFER)
    places = [(move.id, move.place, move.leg) for move in moves]
    return answering.payment(own_id, places, request_id, rows)


_GIVES: dict[int, dict[str, Any]] = {201: {JSON: told.PaymentOutcome}, 202: {JSON: shapes.NotDecided}}
_PROBLEMS = (*SUBMIT_PROBLEMS, "refused")

ROUTES = (
    Route(
        "POST",
        "/v1/payments",
        "payments",
        create,
        "Make a payment: its legs together or not at all, within limits and under conditions.",
        PAY,
        {JSON: told.PaymentRequest},
        _GIVES,
        _PROBLEMS,
        request=True,
    ),
    Route(
        "GET",
        "/v1/payments/{id}",
        "payment",
        get_one,
        "One payment that was made, and its reversals.",
        READ,
        gives={200: {JSON: told.PaymentOut}},
        problems=looking.LOOKUP_PROBLEMS,
    ),
    *(
        Route(
            "POST",
            f"/v1/payments/{{id}}/{path}",
            name,
            handle,
            summary,
            PAY,
            {JSON: shape},
            _GIVES,
            (*_PROBLEMS, "not_found"),
            request=True,
        )
        for path, name, handle, summary, shape in (
            ("post", "payment_post", post, "Make a pending payment final, whole or in part.", told.PostingRequest),
            ("void", "payment_void", void, "Give back what a pending payment reserved.", told.VoidRequest),
            (
                "reversals",
                "payment_reversals",
                reverse,
                "Reverse a payment by new transfers, whole or in part, and never more than it was.",
                told.ReversalRequest,
            ),
        )
    ),
)
