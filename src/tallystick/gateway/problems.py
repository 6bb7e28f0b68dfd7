"""Every way in which a request gets no outcome: RFC 9457 problems, each with a stable type URI.

`docs/problems.md` is generated from the table here (`page`), and a test compares them. Never rename or reuse a name.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from tallystick.errors import Invalid, OutcomeUnknown, Unavailable
from tallystick.inquiries.port import NotFound

TYPE_PREFIX = "/problems/"
CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row of the table: HTTP status, title (never varies), and what a reader of the docs should do."""

    name: str
    http: int
    title: str
    meaning: str

    @property
    def uri(self) -> str:
        """The `type` of RFC 9457 §3.1.1."""
        return TYPE_PREFIX + self.name


TABLE = (
    ProblemType(
        "malformed_request",
        400,
        "This is no HTTP request",
        "The head or the framing of the body breaks HTTP/1.1. Nothing was done. The connection is closed.",
    ),
    ProblemType(
        "malformed_body",
        400,
        "The body is not what its content type says",
        "Not JSON, not UTF-8, cut off, a key twice in one object, or a binary batch whose length is not a multiple of "
        "128 bytes. Nothing was done. Correct the body.",
    ),
    ProblemType(
        "invalid_field",
        400,
        "A field or header cannot be understood",
        "`field` names it, `detail` says what it must be. Nothing was done. Correct it.",
    ),
    ProblemType(
        "missing_idempotency_key",
        400,
        "The request has no id",
        "Send an `Idempotency-Key` header, or `request_id` in the body: without one a retry could pay twice.",
    ),
    ProblemType(
        "unauthenticated",
        401,
        "No valid key",
        "Send `Authorization: Bearer sk_…` with a key that has not been revoked (`tally key`).",
    ),
    ProblemType("forbidden", 403, "The key may not do this", "`scope` names what the key lacks. Use another key."),
    ProblemType(
        "not_found", 404, "There is no such thing", "No such path, or the tenant has no such account or transfer."
    ),
    ProblemType(
        "method_not_allowed", 405, "The path does not take this method", "The `Allow` header lists those it takes."
    ),
    ProblemType(
        "body_too_slow",
        408,
        "The body did not arrive in time",
        "Nothing was done. Send it again, faster. The connection is closed.",
    ),
    ProblemType(
        "headers_too_slow",
        408,
        "The head of the request did not arrive in time",
        "Nothing was done. Send it again, faster. The connection is closed.",
    ),
    ProblemType(
        "length_required",
        411,
        "The body has no length",
        "Send `Content-Length`, or `Transfer-Encoding: chunked`.",
    ),
    ProblemType(
        "precondition_failed",
        412,
        "It is not as you saw it",
        "`If-Match` names another version than the present one, which the `ETag` header tells. Nothing was done. Read "
        "it again, then decide again.",
    ),
    ProblemType(
        "body_too_large", 413, "The body is too large", "`limit_bytes` is the most that is taken. Nothing was done."
    ),
    ProblemType(
        "unsupported_media_type",
        415,
        "The content type is not taken here",
        "Send `Content-Type: application/json`; batches of transfers take `application/octet-stream` too.",
    ),
    ProblemType(
        "refused",
        422,
        "The ledger decided: no",
        "`outcome` is the ledger's status, final for this request id. Where `transient` is true another request, with "
        "another transfer id, may succeed later.",
    ),
    ProblemType(
        "idempotency_key_reused",
        422,
        "The request id stands for another request",
        "The key was used before with other content. Nothing was done. Use a new key for a new payment.",
    ),
    ProblemType(
        "too_many_undecided",
        429,
        "Too many of this tenant's commands are undecided",
        "Nothing was done. Wait as `Retry-After` says, then send again with the same key.",
    ),
    ProblemType(
        "headers_too_large",
        431,
        "The headers are too large",
        "At most 64 header fields of 64 KiB in all are taken. Nothing was done.",
    ),
    ProblemType(
        "internal_error",
        500,
        "Something broke on our side",
        "What became of the request is not known. Ask again with the same key: that cannot pay twice.",
    ),
    ProblemType(
        "unavailable",
        503,
        "The service takes nothing now",
        "Nothing was written. Wait as `Retry-After` says, then send again with the same key.",
    ),
    ProblemType(
        "not_ready",
        503,
        "This gateway should get no traffic",
        "Readiness only: `reasons` lists what is missing (engine, disk, queue, lane, stopping).",
    ),
    ProblemType(
        "outcome_unknown",
        504,
        "The request may or may not have been written",
        "The durable queue did not answer in time. Send again with the same key: that cannot pay twice.",
    ),
)
BY_NAME = {row.name: row for row in TABLE}


class Problem(Exception):
    """Answer with this problem. `members` are extension members (RFC 9457 §3.2), `headers` go with the response."""

    def __init__(self, name: str, detail: str, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(f"{name}: {detail}")
        self.type = BY_NAME[name]
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def shown(self) -> dict[str, Any]:
        """What is told of it wherever it stands: in an answer of its own, or among the results of a bundle."""
        kind = self.type
        head = {"type": kind.uri, "title": kind.title, "status": kind.http, "detail": self.detail}
        return {**head, **self.members}

    def body(self, instance: str) -> bytes:
        """The JSON. `instance` is the id of this exchange, the same as in `X-Request-Id`."""
        return msgspec.json.encode({**self.shown(), "instance": f"urn:tallystick:exchange:{instance}"})


def invalid(error: Invalid) -> Problem:
    """A field that cannot be understood, as a problem; a body as a whole is a problem of its own."""
    if not error.field:
        return Problem("malformed_body", error.message)
    return Problem("invalid_field", f"{error.field} {error.message}", field=error.field)


def unavailable(detail: str, retry_after_s: int = 1) -> Problem:
    """Nothing was written; try again after so many seconds."""
    return Problem("unavailable", detail, {"retry-after": str(retry_after_s)})


def of(error: Exception) -> Problem | None:
    """The problem that tells of this error; None for one that nobody raises on purpose."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Invalid):
        return invalid(error)
    if isinstance(error, Unavailable):
        return unavailable(str(error))
    if isinstance(error, OutcomeUnknown):
        return Problem("outcome_unknown", str(error))
    if isinstance(error, NotFound):
        return Problem("not_found", str(error))
    return None


def page() -> str:
    """`docs/problems.md`."""
    rows = "\n".join(
        f"## {row.name}\n\n`{row.uri}` · HTTP {row.http} · {row.title}\n\n{row.meaning}\n" for row in TABLE
    )
    return (
        "# Problems\n\n"
        "What the API answers when a request gets no outcome, as RFC 9457 `application/problem+json`. The `type` is\n"
        "the stable path below; `title` never varies; `detail` is for people; `instance` repeats `X-Request-Id`.\n"
        "This page is generated from `tallystick.gateway.problems`.\n\n" + rows
    )
