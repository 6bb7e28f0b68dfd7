"""Making transfers and looking them up."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from msgspec import UNSET
from msgspec.structs import astuple

from tallystick import ids
from tallystick.acts.port import ACCESS
from tallystick.errors import Invalid
from tallystick.gateway import decoding, headers, shapes, texts
from tallystick.gateway.answering import BINARY, JSON, REVIEW, TRANSFER, Answer, Outstanding
from tallystick.gateway.auth import CONTROL, PAY, READ
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import looking
from tallystick.gateway.submitting import SUBMIT_PROBLEMS, batch, single
from tallystick.metadata.store import Text
from tallystick.records.commands import EVENT_SIZE, Opcode

SLICE = 256
"""Transfers of a batch decoded at a stretch: single payments get their turn in between."""


def create_one(call: Call) -> Outstanding | Awaitable[Answer]:
    """The hot path: everything here is paid for by each payment."""
    body = call.body
    asked = decoding.decode(decoding.transfer_decoder, body)
    fields = astuple(asked)
    if asked.metadata is not UNSET or asked.metadata_person is not UNSET:
        return _create_with_text(call, asked, fields)
    decoding.refuse_repeated_keys(body, decoding.set_count(fields))
    request_id = headers.request_id(call.headers, asked.request_id or None)
    event, metadata = decoding.transfer_event(fields[: decoding.TRANSFER_FIELDS], request_id, 0)
    return single(call, TRANSFER, event, metadata, request_id, asked.expires_at)


async def _create_with_text(call: Call, asked: shapes.TransferRequest, fields: tuple[Any, ...]) -> Answer:
    """A transfer with text: that is kept first, then the payment made with the commitment to it."""
    request_id = headers.request_id(call.headers, asked.request_id or None)
    event, promise = decoding.transfer_event(fields[: decoding.TRANSFER_FIELDS], request_id, 0)
    text = texts.of_transfer(asked, promise, request_id, 0)
    assert text is not None
    decoding.refuse_repeated_keys(call.body, decoding.set_count(fields) + len(text.fields))
    (promise,) = await texts.keep(call, [text])
    return await single(call, TRANSFER, event, promise, request_id, asked.expires_at)


async def text(call: Call) -> Answer:
    """The text under a commitment."""
    commitment = decoding.commitment(call.arguments[0], "commitment")
    found = await asyncio.to_thread(call.service.texts.opened, call.principal.tenant, commitment)
    if found is None:
        raise Problem("not_found", "this tenant has no text under that commitment; it may have been erased")
    return looking.answer(shapes.TextOut({field: opening.value for field, opening in found.items()}))


async def create_batch(call: Call) -> Answer:
    """Many at once, in JSON or in TigerBeetle's own bytes."""
    body = call.body
    if call.media == BINARY:
        if len(body) % EVENT_SIZE:
            raise Invalid("", f"a binary batch is n × {EVENT_SIZE} bytes, not {len(body):,} bytes")
        decoding.count_in_bounds(len(body) // EVENT_SIZE, "transfers")
        request_id = headers.request_id(call.headers, None)
        return await batch(call, TRANSFER, body, b"", request_id, None, binary=True)
    asked = decoding.decode(decoding.transfers_decoder, body)
    decoding.count_in_bounds(len(asked.transfers), "transfers")
    request_id = headers.request_id(call.headers, asked.request_id or None)
    keys = decoding.set_count(astuple(asked))
    events = []
    metadata = []
    told: dict[int, Text] = {}
    for index, transfer in enumerate(asked.transfers):
        fields = astuple(transfer)
        keys += decoding.set_count(fields)
        try:
            event, promise = decoding.transfer_event(fields[: decoding.TRANSFER_FIELDS], request_id, index)
            text = None
            if transfer.metadata is not UNSET or transfer.metadata_person is not UNSET:
                text = texts.of_transfer(transfer, promise, request_id, index)
        except Invalid as error:
            raise Invalid(f"transfers[{index}].{error.field}", error.message) from error
        events.append(event)
        metadata.append(promise)
        if text is not None:
            told[index] = text
            keys += len(text.fields)
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    decoding.refuse_repeated_keys(body, keys)
    for index, promise in zip(told, await texts.keep(call, list(told.values())), strict=True):
        metadata[index] = promise
    return await batch(call, TRANSFER, b"".join(events), texts.joined(metadata), request_id, asked.expires_at)


async def get_one(call: Call) -> Answer:
    """One transfer, if it was created."""
    number = looking.path_id(call)
    rows = await call.service.link.transfers(call.principal.tenant, [number])
    if not len(rows):
        raise Problem("not_found", f"this tenant has no transfer {ids.show(number)}")
    return looking.answer(looking.transfer(rows[0]))


async def look_up(call: Call) -> Answer:
    """Several transfers."""
    rows = await call.service.link.transfers(call.principal.tenant, looking.body_ids(call))
    return looking.answer(shapes.TransfersOut([looking.transfer(row) for row in rows]))


async def approve(call: Call) -> Answer:
    """Let a pending transfer in review go."""
    return await _review(call, Opcode.APPROVE)


async def reject(call: Call) -> Answer:
    """Stop a pending transfer in review."""
    return await _review(call, Opcode.REJECT)


async def _review(call: Call, opcode: Opcode) -> Answer:
    body = call.body
    asked = decoding.decode(decoding.review_decoder, body)
    decoding.refuse_repeated_keys(body, decoding.set_count(astuple(asked)))
    transfer = looking.path_id(call).to_bytes(16, "little")
    event = decoding.review_event(transfer, opcode, asked)
    request_id = headers.request_id(call.headers, asked.request_id or None)
    return await single(call, REVIEW, event, b"", request_id, asked.expires_at, transfer)


ROUTES = (
    Route(
        "POST",
        "/v1/transfers",
        "transfers",
        create_one,
        "Make one transfer.",
        PAY,
        {JSON: shapes.TransferRequest},
        {200: {JSON: shapes.OneOutcome}, 201: {JSON: shapes.OneOutcome}, 202: {JSON: shapes.NotDecided}},
        (*SUBMIT_PROBLEMS, "refused"),
        request=True,
        gathered=True,
    ),
    Route(
        "POST",
        "/v1/transfers/batch",
        "transfers_batch",
        create_batch,
        "Make 1 to 8,190 transfers, acknowledged and decided together, each with its own result. As binary: "
        "n × 128 bytes of TigerBeetle's Transfer in, n × 16 bytes of results out (timestamp u64, status u32, "
        "replayed u32; little-endian).",
        PAY,
        {JSON: shapes.TransfersRequest, BINARY: None},
        {200: {JSON: shapes.Outcomes, BINARY: None}, 202: {JSON: shapes.NotDecided}},
        SUBMIT_PROBLEMS,
        request=True,
    ),
    Route(
        "GET",
        "/v1/transfers/{id}",
        "transfer",
        get_one,
        "One transfer that was created.",
        READ,
        gives={200: {JSON: shapes.TransferOut}},
        problems=looking.LOOKUP_PROBLEMS,
    ),
    Route(
        "GET",
        "/v1/metadata/{commitment}",
        "metadata",
        text,
        "The text that came with a payment, by its commitment, as statements and searches show it.",
        READ,
        gives={200: {JSON: shapes.TextOut}},
        problems=("not_found", "unavailable"),
        acts=ACCESS,
    ),
    Route(
        "POST",
        "/v1/transfers/lookup",
        "transfers_lookup",
        look_up,
        "Several transfers; those not found are left out.",
        READ,
        {JSON: shapes.LookupRequest},
        {200: {JSON: shapes.TransfersOut}},
        looking.LOOKUP_PROBLEMS,
    ),
    *(
        Route(
            "POST",
            f"/v1/transfers/{{id}}/{name}",
            name,
            handle,
            summary,
            CONTROL,
            {JSON: shapes.ReviewRequest},
            {200: {JSON: shapes.ReviewOutcome}, 202: {JSON: shapes.NotDecided}},
            (*SUBMIT_PROBLEMS, "refused"),
            request=True,
        )
        for name, handle, summary in (
            ("approve", approve, "Let a pending transfer in review go, as if nobody had stopped it."),
            ("reject", reject, "Stop a pending transfer in review: what it reserved is given back."),
        )
    ),
)
