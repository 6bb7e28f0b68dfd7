"""Opening accounts, looking them up, and what people may do to one: freeze, unfreeze, set its credit limit."""

from typing import Any

from msgspec import UNSET
from msgspec.structs import astuple

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway import answering, decoding, headers, shapes
from tallystick.gateway.answering import ACCOUNT, JSON, Answer
from tallystick.gateway.auth import CONTROL, PAY, READ
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import looking
from tallystick.gateway.submitting import SUBMIT_PROBLEMS, batch, single
from tallystick.records.commands import Opcode

_OWN_FIELDS = len(shapes.AccountIn.__struct_fields__)


async def create(call: Call) -> Answer:
    """One account, or many."""
    body = call.body
    asked = decoding.decode(decoding.accounts_decoder, body)
    request_id = headers.request_id(call.headers, asked.request_id or None)
    fields = astuple(asked)
    keys = decoding.set_count(fields)
    if asked.accounts is UNSET:
        decoding.refuse_repeated_keys(body, keys)
        event = decoding.account_event(fields[:_OWN_FIELDS], request_id, 0)
        return await single(call, ACCOUNT, event, b"", request_id, asked.expires_at)
    mixed = [name for name in shapes.AccountIn.__struct_fields__ if getattr(asked, name) is not UNSET]
    if mixed:
        raise Invalid(mixed[0], "cannot stand beside accounts")
    decoding.count_in_bounds(len(asked.accounts), "accounts")
    events = []
    for index, account in enumerate(asked.accounts):
        own = astuple(account)
        keys += decoding.set_count(own)
        try:
            events.append(decoding.account_event(own, request_id, index))
        except Invalid as error:
            raise Invalid(f"accounts[{index}].{error.field}", error.message) from error
    decoding.refuse_repeated_keys(body, keys)
    return await batch(call, ACCOUNT, b"".join(events), b"", request_id, asked.expires_at)


async def get_one(call: Call) -> Answer:
    """One account as of now."""
    number = looking.path_id(call)
    found = await call.service.link.accounts(call.principal.tenant, [number])
    if not found:
        raise Problem("not_found", f"this tenant has no account {ids.show(number)}")
    return looking.answer(looking.account(*found[0]))


async def look_up(call: Call) -> Answer:
    """Several accounts as of now."""
    found = await call.service.link.accounts(call.principal.tenant, looking.body_ids(call))
    return looking.answer(shapes.AccountsOut([looking.account(*each) for each in found]))


async def freeze(call: Call) -> Answer:
    """Stop movements of a side."""
    return await _side(call, Opcode.FREEZE)


async def unfreeze(call: Call) -> Answer:
    """Let movements of a side through again."""
    return await _side(call, Opcode.UNFREEZE)


async def _side(call: Call, opcode: Opcode) -> Answer:
    body = call.body
    asked = decoding.decode(decoding.freeze_decoder, body)
    decoding.refuse_repeated_keys(body, decoding.set_count(astuple(asked)))
    account = looking.path_id(call).to_bytes(16, "little")
    event = decoding.freeze_event(account, opcode, asked)
    request_id = headers.request_id(call.headers, asked.request_id or None)
    return await single(call, answering.CONTROL, event, b"", request_id, asked.expires_at)


async def credit_limit(call: Call) -> Answer:
    """How far debits may pass credits."""
    body = call.body
    asked = decoding.decode(decoding.credit_limit_decoder, body)
    decoding.refuse_repeated_keys(body, decoding.set_count(astuple(asked)))
    account = looking.path_id(call).to_bytes(16, "little")
    event = decoding.credit_limit_event(account, asked)
    request_id = headers.request_id(call.headers, asked.request_id or None)
    return await single(call, answering.CONTROL, event, b"", request_id, asked.expires_at)


_CONTROL_GIVES: dict[int, dict[str, Any]] = {200: {JSON: shapes.ControlOutcome}, 202: {JSON: shapes.NotDecided}}
_CONTROL_PROBLEMS = (*SUBMIT_PROBLEMS, "refused")

ROUTES = (
    Route(
        "POST",
        "/v1/accounts",
        "accounts",
        create,
        "Open one account, or 1 to 8,190 of them together, each with its own result.",
        PAY,
        {JSON: shapes.AccountsRequest},
        {
            200: {JSON: (shapes.OneOutcome, shapes.Outcomes)},
            201: {JSON: shapes.OneOutcome},
            202: {JSON: shapes.NotDecided},
        },
        (*SUBMIT_PROBLEMS, "refused"),
        request=True,
    ),
    Route(
        "GET",
        "/v1/accounts/{id}",
        "account",
        get_one,
        "One account as of now.",
        READ,
        gives={200: {JSON: shapes.AccountOut}},
        problems=looking.LOOKUP_PROBLEMS,
    ),
    Route(
        "POST",
        "/v1/accounts/lookup",
        "accounts_lookup",
        look_up,
        "Several accounts as of now; those not found are left out.",
        READ,
        {JSON: shapes.LookupRequest},
        {200: {JSON: shapes.AccountsOut}},
        looking.LOOKUP_PROBLEMS,
    ),
    *(
        Route(
            method,
            f"/v1/accounts/{{id}}/{path}",
            name,
            handle,
            summary,
            CONTROL,
            {JSON: shape},
            _CONTROL_GIVES,
            _CONTROL_PROBLEMS,
            request=True,
        )
        for method, path, name, handle, summary, shape in (
            ("POST", "freeze", "freeze", freeze, "Stop movements of a side.", shapes.FreezeRequest),
            ("POST", "unfreeze", "unfreeze", unfreeze, "Let movements through again.", shapes.FreezeRequest),
            ("PUT", "credit-limit", "credit_limit", credit_limit, "Set the limit.", shapes.CreditLimitRequest),
            ("POST", "credit-limit", "credit_limit", credit_limit, "Set the limit.", shapes.CreditLimitRequest),
        )
    ),
)
