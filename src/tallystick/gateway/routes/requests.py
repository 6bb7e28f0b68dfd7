"""What became of a request: the status URL that a 202 points to."""

from urllib.parse import parse_qsl

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway import answering, decoding, shapes
from tallystick.gateway.answering import JSON, TOPICS, TRANSFER, Answer
from tallystick.gateway.auth import READ
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import looking
from tallystick.statuses import RequestStatus


async def get_one(call: Call) -> Answer:
    """The recorded results. The fingerprint keeps another payment's results from being taken for this one's."""
    try:
        pairs = parse_qsl(call.query, keep_blank_values=True, strict_parsing=bool(call.query), max_num_fields=8)
    except ValueError as error:
        raise Invalid("query", "cannot be understood") from error
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise Invalid("query", "has a parameter twice")
    unknown = asked.keys() - {"fingerprint", "kind"}
    if unknown:
        raise Invalid(min(unknown), "is no parameter here")
    request_id = looking.path_id(call)
    digest = decoding.fingerprint(asked.get("fingerprint", ""))
    topic = TOPICS.get(asked.get("kind", TRANSFER.word))
    if topic is None:
        raise Invalid("kind", f"must be one of {', '.join(TOPICS)}")
    known = await call.service.link.results(call.principal.tenant, request_id, digest)
    if known.status == RequestStatus.NOT_DECIDED:
        return answering.not_decided(request_id, digest, topic)
    if known.status == RequestStatus.TENANT_ELSEWHERE:
        raise answering.elsewhere()
    if known.status is not None:
        raise Problem(
            "idempotency_key_reused",
            "this request id stands for a request with another fingerprint",
            request_id=ids.show(request_id),
        )
    return answering.request(topic, request_id, known.results.tobytes())


ROUTES = (
    Route(
        "GET",
        "/v1/requests/{request_id}",
        "request",
        get_one,
        "What became of a request: its recorded results, or 202 while it is not decided.",
        READ,
        gives={200: {JSON: shapes.RequestAnswer}, 202: {JSON: shapes.NotDecided}},
        problems=("invalid_field", "idempotency_key_reused", "unavailable"),
        query={
            "fingerprint": "SHA-256 of the request as 64 hex digits; a 202 gives it in its `Location`. Required.",
            "kind": "`transfer` (default), `account` or `control`: by what table the statuses are named.",
        },
        recalls=True,
    ),
)
