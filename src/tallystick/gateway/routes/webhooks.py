"""Webhooks: subscriptions, their keys, their deliveries. The notifier answers; here is only what HTTP adds.

A notifier that is down or slow costs these routes a 503 and payments nothing.
"""

import re
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from tallystick.acts.port import CONTROL
from tallystick.errors import Invalid
from tallystick.gateway import decoding, headers
from tallystick.gateway.answering import JSON, Answer
from tallystick.gateway.auth import WEBHOOKS
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import looking
from tallystick.webhooks import asking, shapes
from tallystick.webhooks.asking import Asked, Operation, Result, Told

FOLLOWER = "notifier"
PAGE = 20
"""Deliveries of a page, unless asked otherwise."""
WEBHOOK_ID_MAX = 64

_ETAG = re.compile(r'"([0-9]{1,15})"', re.ASCII)
_Shape = TypeVar("_Shape", bound=msgspec.Struct)
_make_decoder = msgspec.json.Decoder(shapes.SubscriptionIn)
_change_decoder = msgspec.json.Decoder(shapes.SubscriptionChange)
_rotation_decoder = msgspec.json.Decoder(shapes.Rotation)
_replay_decoder = msgspec.json.Decoder(shapes.ReplayIn)


async def make(call: Call) -> Answer:
    """A new subscription, with its key."""
    body = _body(call, _make_decoder)
    told = await _ask(call, Operation.MAKE, body=body, **_once(call, Operation.MAKE, body))
    return 201, JSON, (*_version(told), *_repeated(told)), told.body


async def list_all(call: Call) -> Answer:
    """All of them."""
    return _answer(await _ask(call, Operation.LIST))


async def get_one(call: Call) -> Answer:
    """One of them."""
    return _answer(await _ask(call, Operation.GET, subscription=_subscription(call)))


async def change(call: Call) -> Answer:
    """URL, types, description; enable, disable."""
    body, version = _body(call, _change_decoder), _if_match(call)
    told = await _ask(call, Operation.CHANGE, subscription=_subscription(call), version=version, body=body)
    return _answer(told)


async def delete(call: Call) -> Answer:
    """No more of it."""
    told = await _ask(call, Operation.DELETE, subscription=_subscription(call), version=_if_match(call))
    return _answer(told)


async def rotate(call: Call) -> Answer:
    """A new key."""
    body, subscription = _body(call, _rotation_decoder), _subscription(call)
    once = _once(call, Operation.ROTATE, subscription + body)
    told = await _ask(call, Operation.ROTATE, subscription=subscription, body=body, **once)
    return 200, JSON, _repeated(told), told.body


async def send_test(call: Call) -> Answer:
    """A webhook that tells of nothing."""
    return _answer(await _ask(call, Operation.TEST, subscription=_subscription(call)))


async def deliveries(call: Call) -> Answer:
    """A page of deliveries."""
    asked = _query(call, "state", "before", "limit")
    limit = decoding.unsigned(asked.get("limit", str(PAGE)), "limit", 32)
    told = await _ask(
        call,
        Operation.DELIVERIES,
        subscription=_subscription(call),
        state=asked.get("state", ""),
        before=_short(asked.get("before", ""), "before"),
        limit=limit,
    )
    return _answer(told)


async def delivery(call: Call) -> Answer:
    """One delivery, its body and its attempts."""
    told = await _ask(call, Operation.DELIVERY, subscription=_subscription(call), webhook_id=_webhook_id(call))
    return _answer(told)


async def again(call: Call) -> Answer:
    """Send one again."""
    told = await _ask(call, Operation.AGAIN, subscription=_subscription(call), webhook_id=_webhook_id(call))
    return _answer(told)


async def replay(call: Call) -> Answer:
    """Send a range again."""
    body = _body(call, _replay_decoder)
    return _answer(await _ask(call, Operation.REPLAY, subscription=_subscription(call), body=body))


async def _ask(call: Call, operation: Operation, **fields: Any) -> Told:
    """What the notifier says. Raises what `Inquiries.ask` raises, and problems."""
    body = asking.encode(Asked(**fields))
    told = asking.decode_told(await call.service.followers[FOLLOWER].ask(operation, call.principal.tenant, body))
    if told.result is Result.REUSED:
        raise Problem("idempotency_key_reused", "this key was used before with other content; nothing was done")
    if told.result is Result.STALE:
        detail = "it was changed since you read it: read it again, and decide again"
        raise Problem("precondition_failed", detail, {"etag": f'"{told.version}"'}, field="If-Match")
    return told


def _body(call: Call, decoder: msgspec.json.Decoder[_Shape]) -> bytes:
    """The body, checked against its struct, and written our way: the same content has the same bytes."""
    asked = decoding.decode(decoder, call.body)
    decoding.refuse_repeated_keys(call.body, -1)
    return msgspec.json.encode(asked)


def _once(call: Call, operation: Operation, content: bytes) -> dict[str, bytes]:
    """What makes the notifier do it once. Raises the problem `missing_idempotency_key`."""
    request_id = headers.request_id(call.headers, None)
    return {
        "request_id": request_id.to_bytes(16),
        "fingerprint": sha256(f"{operation}\0".encode() + content).digest(),
    }


def _subscription(call: Call) -> bytes:
    return looking.path_id(call).to_bytes(16)


def _webhook_id(call: Call) -> str:
    return _short(call.arguments[1], "webhook_id")


def _short(text: str, field: str) -> str:
    if len(text) > WEBHOOK_ID_MAX or not text.isascii():
        raise Invalid(field, "must be the id of a delivery")
    return text


def _query(call: Call, *known: str) -> dict[str, str]:
    """The query's parameters, each once and known. Raises `Invalid`."""
    try:
        pairs = parse_qsl(call.query, keep_blank_values=True, strict_parsing=bool(call.query), max_num_fields=8)
    except ValueError as error:
        raise Invalid("query", "cannot be understood") from error
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise Invalid("query", "has a parameter twice")
    if unknown := asked.keys() - set(known):
        raise Invalid(min(unknown), "is no parameter here")
    return asked


def _if_match(call: Call) -> int | None:
    """The version that `If-Match` names (RFC 9110 §13.1.1); None: any. Raises `Invalid`."""
    text = call.headers.get("if-match", "*").strip()
    if text == "*":
        return None
    found = _ETAG.fullmatch(text)
    if found is None:
        raise Invalid("If-Match", "must be one ETag as it was answered, or *")
    return int(found[1])


def _answer(told: Told) -> Answer:
    return 200, JSON, _version(told), told.body


def _version(told: Told) -> tuple[tuple[str, str], ...]:
    return () if told.version is None else (("etag", f'"{told.version}"'),)


def _repeated(told: Told) -> tuple[tuple[str, str], ...]:
    return (("idempotent-replayed", "true"),) if told.result is Result.REPEATED else ()


_ONE = "/v1/webhooks/{id}"
_OF_ONE = ("invalid_field", "not_found", "unavailable")
_ONCE = ("missing_idempotency_key", "idempotency_key_reused", "unavailable")
_PATH_DELIVERY = _ONE + "/deliveries/{webhook_id}"

ROUTES = (
    Route(
        "POST",
        "/v1/webhooks",
        "webhook_make",
        make,
        "Subscribe a URL to types of notifications. The answer alone shows the key.",
        WEBHOOKS,
        {JSON: shapes.SubscriptionIn},
        {201: {JSON: shapes.SubscriptionMade}},
        _ONCE,
        keyed=True,
        versioned=True,
        acts=CONTROL,
    ),
    Route(
        "GET",
        "/v1/webhooks",
        "webhooks",
        list_all,
        "All subscriptions, oldest first.",
        WEBHOOKS,
        gives={200: {JSON: shapes.SubscriptionList}},
        problems=("unavailable",),
    ),
    Route(
        "GET",
        _ONE,
        "webhook",
        get_one,
        "One subscription.",
        WEBHOOKS,
        gives={200: {JSON: shapes.SubscriptionOut}},
        problems=_OF_ONE,
        versioned=True,
    ),
    Route(
        "PATCH",
        _ONE,
        "webhook_change",
        change,
        "Change a subscription, disable it, or enable it again.",
        WEBHOOKS,
        {JSON: shapes.SubscriptionChange},
        {200: {JSON: shapes.SubscriptionOut}},
        (*_OF_ONE, "precondition_failed"),
        versioned=True,
        acts=CONTROL,
    ),
    Route(
        "DELETE",
        _ONE,
        "webhook_delete",
        delete,
        "Delete a subscription with its deliveries.",
        WEBHOOKS,
        gives={200: {JSON: shapes.Deleted}},
        problems=(*_OF_ONE, "precondition_failed"),
        versioned=True,
        acts=CONTROL,
    ),
    Route(
        "POST",
        _ONE + "/rotate",
        "webhook_rotate",
        rotate,
        "Make a new key; those before it sign as well until `overlap_s` have passed.",
        WEBHOOKS,
        {JSON: shapes.Rotation},
        {200: {JSON: shapes.KeyMade}},
        (*_ONCE, "not_found"),
        keyed=True,
        acts=CONTROL,
    ),
    Route(
        "POST",
        _ONE + "/test",
        "webhook_test",
        send_test,
        "Send a webhook of the type `webhook.test`.",
        WEBHOOKS,
        gives={200: {JSON: shapes.DeliveryDetail}},
        problems=_OF_ONE,
    ),
    Route(
        "GET",
        _ONE + "/deliveries",
        "webhook_deliveries",
        deliveries,
        "Deliveries, newest first.",
        WEBHOOKS,
        gives={200: {JSON: shapes.DeliveryList}},
        problems=_OF_ONE,
        query={
            "state": "`waiting`, `delivered` or `dead`; all if left out.",
            "before": "`next` of the page before.",
            "limit": f"1 to {shapes.PAGE_MAX}; {PAGE} if left out.",
        },
    ),
    Route(
        "GET",
        _PATH_DELIVERY,
        "webhook_delivery",
        delivery,
        "One delivery with its body and its attempts.",
        WEBHOOKS,
        gives={200: {JSON: shapes.DeliveryDetail}},
        problems=_OF_ONE,
    ),
    Route(
        "POST",
        _PATH_DELIVERY + "/replay",
        "webhook_delivery_replay",
        again,
        "Send a delivery again, under the same id, whatever became of it.",
        WEBHOOKS,
        gives={200: {JSON: shapes.DeliveryDetail}},
        problems=_OF_ONE,
    ),
    Route(
        "POST",
        _ONE + "/replay",
        "webhook_replay",
        replay,
        "Send what was decided in a range of positions, again or for the first time, under the same ids.",
        WEBHOOKS,
        {JSON: shapes.ReplayIn},
        {200: {JSON: shapes.ReplayOut}},
        _OF_ONE,
    ),
)
