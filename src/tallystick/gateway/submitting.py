"""From events to an answer: command records, the lane, the wait. What every route that changes something shares."""

from msgspec import UNSET, UnsetType

from tallystick.gateway import answering, headers
from tallystick.gateway.answering import Answer, Outstanding, Topic
from tallystick.gateway.calls import Call
from tallystick.gateway.undecided import NOT_KNOWN
from tallystick.records.commands import EVENT_SIZE, Kind, fingerprint, frame, pack_one

SUBMIT_PROBLEMS = (
    "malformed_body",
    "invalid_field",
    "missing_idempotency_key",
    "idempotency_key_reused",
    "too_many_undecided",
    "unavailable",
    "outcome_unknown",
)
Expiry = str | int | UnsetType | None


def single(
    call: Call,
    topic: Topic,
    event: bytes,
    metadata: bytes,
    request_id: int,
    expires_at: Expiry,
    subject: bytes = b"",
) -> Outstanding:
    """Submit a request of one event; what it returns answers about `subject`, or else about the id the event begins
    with."""
    service, tenant = call.service, call.principal.tenant
    given = call.headers
    expiry = 0
    if expires_at is not UNSET or "expires-at" in given:
        expiry = headers.expires_at(given, None if expires_at is UNSET else expires_at)
    wait_s = headers.wait_s(given["prefer"], service.wait_s) if "prefer" in given else service.wait_s
    now_ns = service.clock.wall_ns()
    record, digest = pack_one(event, topic.kind, tenant, request_id, now_ns, expiry, metadata)
    requests = service.requests
    sort = requests.control if topic.kind is Kind.CONTROL else requests.payments
    outstanding = Outstanding(tenant, request_id, digest, record, topic, subject or event[:16])
    requests.take_on(sort, outstanding, wait_s)
    return outstanding


async def batch(
    call: Call,
    topic: Topic,
    events: bytes,
    metadata: bytes,
    request_id: int,
    expires_at: Expiry,
    binary: bool = False,
) -> Answer:
    """Submit a request of n × 128 bytes of events, wait, answer about each of them."""
    digest, rows = await rows_of(call, topic, events, metadata, request_id, expires_at)
    if rows is NOT_KNOWN:
        return answering.not_decided(request_id, digest, topic)
    if binary:
        return answering.binary(request_id, rows)
    return answering.many(topic, events, request_id, rows)


async def rows_of(
    call: Call, topic: Topic, events: bytes, metadata: bytes, request_id: int, expires_at: Expiry
) -> tuple[bytes, bytes]:
    """Submit a request of n × 128 bytes of events; its fingerprint, and its `RESULT` rows or `NOT_KNOWN`."""
    service, tenant = call.service, call.principal.tenant
    expiry = headers.expires_at(call.headers, None if expires_at is UNSET else expires_at)
    wait_s = headers.wait_s(call.headers["prefer"], service.wait_s) if "prefer" in call.headers else service.wait_s
    count = len(events) // EVENT_SIZE
    digest = fingerprint(topic.kind, count, events, metadata)
    commands = frame(events, topic.kind, tenant, request_id, service.clock.wall_ns(), expiry, metadata).tobytes()
    rows = await service.requests.submit(service.requests.payments, tenant, request_id, digest, commands, count, wait_s)
    return digest, rows
