"""Bundles: one HTTP body that carries many requests which have nothing to do with each other.

HTTP costs a payment more than the ledger does. So clients that make many at once may let them travel together; yet
each stays a request of its own, with id, expiry and result, is packed into blocks as if it had come alone, and may be
sent again alone, or in another bundle. What is wrong with one, or not known of it, is told of that one.
"""

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import UNSET, Raw
from msgspec.structs import astuple

from tallystick.errors import Invalid, Unavailable
from tallystick.gateway import answering, decoding, headers, problems, shapes, texts
from tallystick.gateway.answering import JSON, TRANSFER, Answer
from tallystick.gateway.auth import PAY
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes.transfers import SLICE
from tallystick.metadata.store import Text
from tallystick.records.commands import COMMANDS_MAX, EVENT_SIZE, fingerprint, frame, pack_one

_NOT_HERE = ("idempotency-key", "expires-at")


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request of the bundle, understood. `promises`: each event's commitment, or nothing; `texts` are by the
    index of their event, and their commitments take their place among the promises once they are kept."""

    request_id: int
    events: bytes
    promises: list[bytes]
    texts: dict[int, Text]
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Refused:
    """One request of the bundle that got no outcome. `request_id`: None if that was not understood."""

    request_id: int | None
    problem: Problem


@dataclass(frozen=True, slots=True)
class _Submitted:
    """One request of the bundle on its way."""

    asked: _Asked
    digest: bytes
    rows: "asyncio.Future[bytes]"


_Member: TypeAlias = _Asked | _Refused


async def create(call: Call) -> Answer:
    """Take on each request of the bundle, wait, answer about each."""
    for name in _NOT_HERE:
        if name in call.headers:
            raise Invalid(name.title(), "stands in each request of a bundle, not in the header")
    wait_s = call.service.wait_s
    if "prefer" in call.headers:
        wait_s = headers.wait_s(call.headers["prefer"], wait_s)
    members = await _understand(call.body)
    # The whole is refused before any of it is taken on.
    commands = sum(len(member.events) // EVENT_SIZE for member in members if isinstance(member, _Asked))
    if commands > COMMANDS_MAX:
        raise Invalid("requests", f"have {commands:,} commands; a bundle may have {COMMANDS_MAX:,} in all")
    members = await _with_texts_kept(call, members)
    under_way: list[_Submitted | _Refused] = []
    for index, member in enumerate(members):
        under_way.append(_submit(call, member, wait_s) if isinstance(member, _Asked) else member)
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    told = [await _told(each) if isinstance(each, _Submitted) else each for each in under_way]
    results = [
        each if isinstance(each, str) else answering.bundled_problem(each.problem, each.request_id) for each in told
    ]
    return 200, JSON, (), f'{{"results":[{",".join(results)}]}}'.encode()


async def _understand(body: bytes) -> list[_Member]:
    """The requests of a bundle, each understood or refused. Raises `Invalid` for what is wrong with the whole."""
    parts = decoding.decode(decoding.bundle_decoder, body).requests
    # Colons outside the parts are those of the bundle's own keys, of which there is one (`refuse_repeated_keys`).
    decoding.refuse_repeated_keys(body, 1 + sum(bytes(part).count(b":") for part in parts))
    decoding.count_in_bounds(len(parts), "requests")
    members: list[_Member] = []
    for index, part in enumerate(parts):
        members.append(_member(part))
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return members


def _member(part: Raw) -> _Member:
    body = bytes(part)
    request_id = None
    try:
        asked = decoding.decode(decoding.bundled_decoder, body)
        request_id = headers.request_id({}, asked.request_id)
        decoding.count_in_bounds(len(asked.transfers), "transfers")
        keys = decoding.set_count(astuple(asked))
        events, promises = [], []
        told: dict[int, Text] = {}
        for index, transfer in enumerate(asked.transfers):
            fields = astuple(transfer)
            keys += decoding.set_count(fields)
            at = f"transfers[{index}]."
            event, promise = decoding.transfer_event(fields[: decoding.TRANSFER_FIELDS], request_id, index, at)
            events.append(event)
            promises.append(promise)
            if transfer.metadata is not UNSET or transfer.metadata_person is not UNSET:
                text = texts.of_transfer(transfer, promise, request_id, index, at)
                assert text is not None
                told[index] = text
                keys += len(text.fields)
        decoding.refuse_repeated_keys(body, keys)
        expires_at = 0 if asked.expires_at is UNSET else decoding.unsigned(asked.expires_at, "expires_at")
    except Invalid as error:
        return _Refused(request_id, problems.invalid(error))
    return _Asked(request_id, b"".join(events), promises, told, expires_at)


async def _with_texts_kept(call: Call, members: list[_Member]) -> list[_Member]:
    """The members once all their texts are kept, with one sync; where that fails, those with text are refused."""
    asked = [each for each in members if isinstance(each, _Asked) and each.texts]
    try:
        kept = iter(await texts.keep(call, [text for each in asked for text in each.texts.values()]))
    except Unavailable as error:
        refused = problems.unavailable(str(error))
        return [
            _Refused(each.request_id, refused) if isinstance(each, _Asked) and each.texts else each for each in members
        ]
    for each in asked:
        for index in each.texts:
            each.promises[index] = next(kept)
    return members


def _submit(call: Call, asked: _Asked, wait_s: float) -> _Submitted | _Refused:
    service, tenant = call.service, call.principal.tenant
    count = len(asked.events) // EVENT_SIZE
    now_ns = service.clock.wall_ns()
    metadata = texts.joined(asked.promises)
    # Exactly the bytes of the request that comes alone, or its fingerprint would be another.
    if count == 1:
        commands, digest = pack_one(
            asked.events, TRANSFER.kind, tenant, asked.request_id, now_ns, asked.expires_at, metadata
        )
    else:
        digest = fingerprint(TRANSFER.kind, count, asked.events, metadata)
        commands = frame(
            asked.events, TRANSFER.kind, tenant, asked.request_id, now_ns, asked.expires_at, metadata
        ).tobytes()
    payments = service.requests.payments
    try:
        rows = service.requests.submit(payments, tenant, asked.request_id, digest, commands, count, wait_s)
    except Problem as problem:
        return _Refused(asked.request_id, problem)
    return _Submitted(asked, digest, rows)


async def _told(submitted: _Submitted) -> str | _Refused:
    asked = submitted.asked
    try:
        rows = await submitted.rows
        return answering.bundled(TRANSFER, asked.events, asked.request_id, submitted.digest, rows)
    except Exception as error:
        problem = problems.of(error)
        if problem is None:
            raise
        return _Refused(asked.request_id, problem)


ROUTES = (
    Route(
        "POST",
        "/v1/bundles",
        "bundles",
        create,
        "Make 1 to 8,190 requests that have nothing to do with each other, 8,190 transfers in all. Each keeps an id, "
        "an expiry and a result of its own, and is what it would be if it came alone.",
        PAY,
        {JSON: shapes.BundleRequest},
        {200: {JSON: shapes.BundleOutcome}},
        bundle=True,
    ),
)
