"""The OpenAPI 3.1 description, generated from the routes and their structs, so that it cannot lie about either."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tallystick.gateway import problems, shapes
from tallystick.gateway.auth import SCOPES
from tallystick.gateway.calls import Route
from tallystick.gateway.headers import WAIT_S_MAX
from tallystick.inquiries.reads import POSITION_WAIT_S

VERSION = "1"
EVERYWHERE = ("invalid_field", "headers_too_large", "internal_error")
WITH_KEY = ("unauthenticated", "forbidden")
WITH_BODY = ("body_too_slow", "length_required", "body_too_large", "unsupported_media_type", "malformed_body")
_VARIABLE = re.compile(r"{(\w+)}")
_ID = {
    "type": "string",
    "description": "32 hex digits, or a UUID in any usual spelling.",
    "pattern": shapes.ID_PATTERN,
}
_WEBHOOK_ID = {"type": "string", "description": "The `webhook-id` of a delivery.", "maxLength": 64}


_QUERIES: dict[str, dict[str, Any]] = {
    "fingerprint": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
    "kind": {"type": "string", "enum": ["transfer", "account", "control"]},
}
"""Query parameters of which more can be said than that they are text."""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description as a JSON value."""
    structs = sorted({shape for route in routes for shape in _shapes(route)}, key=lambda shape: shape.__name__)
    schemas = msgspec.json.schema_components([*structs, shapes.ProblemOut], ref_template="#/components/schemas/{name}")[
        1
    ]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick",
            "version": VERSION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Ids are 32 hex digits, amounts strings of integer minor units, instants strings of "
            "nanoseconds since the Unix epoch. A request keeps its first results for ever: send it again with the "
            "same Idempotency-Key as often as you like.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `sk_…`. Scopes: " + ", ".join(SCOPES) + ".",
                }
            },
        },
    }


def _shapes(route: Route) -> Iterable[type[msgspec.Struct]]:
    contents = [route.takes, *route.gives.values()]
    for content in contents:
        for shape in content.values():
            if shape is not None:
                yield from shape if isinstance(shape, tuple) else (shape,)


_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "Id of this exchange: the client's own if it sent one, else one made here.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` if this repeats the recorded results of an earlier request with this id.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Location": {"description": "Where to ask for the results.", "schema": {"type": "string"}},
    "Tally-Position": {
        "description": "The position of the journal that the answer is of. Send it with a read that must know as much.",
        "schema": {"type": "string"},
    },
    "Link": {"description": "The next page, `rel=next` (RFC 8288), if there is one.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "ETag": {"description": "The version of what is shown.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods this path takes.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    "RateLimit": {"description": "What is left of the quota.", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "The quota.", "schema": {"type": "string"}},
}
_PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    412: ("ETag",),
    422: ("Idempotent-Replayed",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _schema(shape: Any) -> dict[str, Any]:
    if shape is None:
        return {"type": "string", "format": "binary"}
    if isinstance(shape, tuple):
        return {"anyOf": [_schema(each) for each in shape]}
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _content(content: Any) -> dict[str, Any]:
    return {media: {"schema": _schema(shape)} for media, shape in content.items()}


def route_problems(route: Route) -> list[problems.ProblemType]:
    """Every problem that a route can give, in the order of the table."""
    names = {*EVERYWHERE, *route.problems}
    if route.scope is not None:
        names.update(WITH_KEY)
    if route.takes:
        names.update(WITH_BODY)
    return [row for row in problems.TABLE if row.name in names]


def _operation(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for http, content in route.gives.items():
        names = ("Location", "Retry-After") if http == 202 else _answer_headers(route)
        responses[str(http)] = {
            "description": _MEANINGS[http],
            "headers": _headers(*names),
            "content": _content(content),
        }
    told: dict[int, list[problems.ProblemType]] = {}
    for row in route_problems(route):
        told.setdefault(row.http, []).append(row)
    for http, rows in sorted(told.items()):
        responses[str(http)] = {
            "description": " ".join(f"`{row.uri}`: {row.title}." for row in rows),
            "headers": _headers(*_PROBLEM_HEADERS.get(http, ())),
            "content": {problems.CONTENT_TYPE: {"schema": _schema(shapes.ProblemOut)}},
        }
    operation: dict[str, Any] = {
        "operationId": route.name if route.method != "POST" or route.name != "credit_limit" else "credit_limit_post",
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": responses,
        "security": [{"key": [route.scope]}] if route.scope else [],
    }
    if route.takes:
        operation["requestBody"] = {"required": True, "content": _content(route.takes)}
    return operation


def _answer_headers(route: Route) -> tuple[str, ...]:
    if route.read:
        return ("Tally-Position", "Link")
    told = ("Tally-Position",) if route.tells_outcomes else ()
    repeated = ("Idempotent-Replayed",) if route.request or route.keyed else ()
    versions = ("ETag",) if route.versioned and route.method != "DELETE" else ()
    return (*told, *repeated, *versions)


_MEANINGS = {
    200: "Done, or known before.",
    201: "Created.",
    202: "Durable, not known to be decided. It will be; `Location` tells the results.",
}


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _WEBHOOK_ID if name == "webhook_id" else _ID}
        for name in _VARIABLE.findall(route.path)
    ]
    found += [
        {
            "name": name,
            "in": "query",
            "required": "Required" in meaning,
            "description": meaning,
            "schema": _QUERIES.get(name, {"type": "string"}),
        }
        for name, meaning in route.query.items()
    ]
    found.append(_header("X-Request-Id", "An id for this exchange, 1 to 128 visible ASCII characters; echoed."))
    if route.read:
        found.append(
            _header("Tally-Position", f"Of an earlier answer: waited for up to {POSITION_WAIT_S:g} s, else 503.")
        )
    if route.versioned and route.method in ("PATCH", "PUT", "DELETE"):
        found.append(_header("If-Match", "An `ETag` as it was answered: do it only if nothing has changed since."))
    if route.keyed:
        found.append(
            _header(
                "Idempotency-Key",
                "A UUID or any other text of 1 to 255 characters: sent again within a day, it is done once and "
                "answered the same. Required.",
            )
        )
    if route.request:
        found += [
            _header(
                "Idempotency-Key",
                "The request's id: a UUID is the id, any other text of 1 to 255 characters is hashed into one. "
                "Required unless the body has `request_id`; a binary batch needs the header.",
                shapes.KEY_PATTERN,
            ),
            _header(
                "Expires-At", "Nanoseconds since the epoch; decided later, the request is refused.", "^[0-9]{1,20}$"
            ),
        ]
    if route.request or route.bundle:
        found.append(
            _header(
                "Prefer",
                f"`respond-async`: answer as soon as all is durable, 202 or `not_decided`. `wait=N`: wait up to N "
                f"seconds, 0 to {WAIT_S_MAX}, for the outcome.",
            )
        )
    return found


def _header(name: str, meaning: str, pattern: str = "") -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern} if pattern else {"type": "string"}
    return {"name": name, "in": "header", "required": False, "description": meaning, "schema": schema}
