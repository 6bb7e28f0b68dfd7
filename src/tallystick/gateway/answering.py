"""From `RESULT` rows to answers: status names, bodies, headers. Bodies of the hot path are put together as bytes;
a test holds each against its struct in `shapes`.
"""

import asyncio
import struct
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from tallystick import ids, statuses
from tallystick.answers.port import RESULT
from tallystick.errors import Corrupt
from tallystick.gateway.problems import Problem, unavailable
from tallystick.gateway.undecided import Request
from tallystick.records.commands import EVENT_SIZE, Kind
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus

Headers: TypeAlias = tuple[tuple[str, str], ...]
Answer: TypeAlias = tuple[int, str, Headers, bytes]
"""HTTP status, content type, further headers, body."""

JSON = "application/json"
BINARY = "application/octet-stream"
RETRY_AFTER_S = 1
"""When to ask again for what is not decided."""
_NONE: Headers = ()
_REPLAYED: Headers = (("idempotent-replayed", "true"),)
_ROW = struct.Struct("<QII")
ROW_SIZE = RESULT.itemsize


@dataclass(frozen=True, slots=True)
class Meaning:
    """A status as the API tells it."""

    name: str
    http: int
    transient: bool


def _meanings(known: type[AccountStatus] | type[TransferStatus] | type[ControlStatus]) -> dict[int, Meaning]:
    return {
        int(status): Meaning(statuses.name(status), statuses.http(status), statuses.transient(status))
        for status in known
    }


@dataclass(frozen=True, slots=True)
class Topic:
    """What a request is about: its kind, the kind's name in URLs, and the JSON name of the id it is about."""

    kind: Kind
    word: str
    noun: str
    meanings: dict[int, Meaning]

    def meaning(self, status: int) -> Meaning:
        """What this status says. Raises `Corrupt` for a number this program does not know; the problem `unavailable`
        for a tenant that is elsewhere.
        """
        found = self.meanings.get(status)
        if status == _ELSEWHERE_STATUS:
            raise elsewhere()
        if found is None:
            raise Corrupt(f"the engine gave status {status} to a command of kind {self.word}; is the gateway older?")
        return found


TRANSFER = Topic(Kind.TRANSFER, "transfer", "id", _meanings(TransferStatus))
ACCOUNT = Topic(Kind.ACCOUNT, "account", "id", _meanings(AccountStatus))
CONTROL = Topic(Kind.CONTROL, "control", "account_id", _meanings(ControlStatus))
REVIEW = Topic(Kind.CONTROL, "control", "transfer_id", _meanings(ControlStatus))
TOPICS = {topic.word: topic for topic in (TRANSFER, ACCOUNT, CONTROL)}


def location(request_id: int, digest: bytes, topic: Topic) -> str:
    """Where a request's results can be asked for."""
    return f"/v1/requests/{request_id:032x}?fingerprint={digest.hex()}&kind={topic.word}"


def not_decided(request_id: int, digest: bytes, topic: Topic) -> Answer:
    """202: durable, not known to be decided."""
    where = location(request_id, digest, topic)
    body = f'{{"request_id":"{request_id:032x}","status":"not_decided","location":"{where}"}}'
    return 202, JSON, (("location", where), ("retry-after", str(RETRY_AFTER_S))), body.encode()


def refuse_reused(rows: bytes, request_id: int) -> None:
    """Raises the problems `idempotency_key_reused` and `unavailable` if one of them is what the rows say."""
    status = int.from_bytes(rows[8:12], "little")
    if status == _REUSED_STATUS:
        raise _reused(request_id)
    if status == _ELSEWHERE_STATUS:
        raise elsewhere()


def elsewhere() -> Problem:
    """The tenant is being moved to another shard, or was just now."""
    return unavailable("this tenant is being moved to another shard; until it is there nothing of it is decided")


def _reused(request_id: int) -> Problem:
    detail = "this request id was used before with other content; that request's results are not shown here"
    return Problem("idempotency_key_reused", detail, request_id=ids.show(request_id))


_BYSTANDERS = frozenset({"created", "linked_event_failed"})
_OF_THE_WHOLE = frozenset({"request_expired", "quarantined"})
"""Refusals of a request that are about none of its parts."""
_REUSED_STATUS = int(RequestStatus.IDEMPOTENCY_KEY_REUSED)
_ELSEWHERE_STATUS = int(RequestStatus.TENANT_ELSEWHERE)


def one(topic: Topic, subject: bytes, request_id: int, rows: bytes) -> Answer:
    """The answer about a request of one command on `subject`, 16 bytes of id."""
    timestamp, status, replayed = _ROW.unpack(rows)
    if status == _REUSED_STATUS:
        raise _reused(request_id)
    told = topic.meanings.get(status) or topic.meaning(status)
    if told.http == 422:
        raise _refused(topic, subject, request_id, timestamp, told, bool(replayed))
    body = (
        f'{{"{topic.noun}":"{subject[::-1].hex()}","status":"{told.name}","timestamp":"{timestamp}",'
        f'"request_id":"{request_id.to_bytes(16).hex()}"}}'
    )
    http = 200 if topic.kind is Kind.CONTROL else told.http
    return http, JSON, _REPLAYED if replayed else _NONE, body.encode()


def _refused(topic: Topic, subject: bytes, request_id: int, timestamp: int, told: Meaning, replayed: bool) -> Problem:
    members = {
        "outcome": told.name,
        "transient": told.transient,
        topic.noun: subject[::-1].hex(),
        "timestamp": str(timestamp),
        "request_id": ids.show(request_id),
    }
    detail = f"the ledger refused: {told.name.replace('_', ' ')}"
    return Problem("refused", detail, dict(_REPLAYED) if replayed else None, **members)


class Outstanding(Request):
    """A request of one command, and how it is answered. Await it, or have it `tell` somebody: that costs no task."""

    __slots__ = ("_error", "_rows", "_then", "subject", "topic")

    def __init__(
        self, tenant: int, request_id: int, fingerprint: bytes, command: bytes, topic: Topic, subject: bytes
    ) -> None:
        """`subject`: the 16 bytes of the id that it is about."""
        super().__init__(tenant, request_id, fingerprint, command, 1)
        self.topic = topic
        self.subject = subject
        self._rows = b""
        self._error: Exception | None = None
        self._then: Callable[[Outstanding], None] | None = None

    def hear(self, rows: bytes, error: Exception | None) -> None:
        self._rows, self._error = rows, error
        if self._then is not None:
            self._then(self)

    def tell(self, then: "Callable[[Outstanding], None]") -> None:
        """Call `then` with this once there is an answer; at once, if there is."""
        if self.open:
            self._then = then
        else:
            then(self)

    def answer(self) -> Answer:
        """What to say, once it is settled. Raises the problems `refused` and `idempotency_key_reused`, and what kept it
        from being known: `Unavailable`, `OutcomeUnknown`."""
        if self._error is not None:
            raise self._error
        if self._rows:
            return one(self.topic, self.subject, self.request_id, self._rows)
        return not_decided(self.request_id, self.fingerprint, self.topic)

    def __await__(self) -> Generator[Any, None, Answer]:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tell(lambda _: None if answered.done() else answered.set_result(None))
        yield from answered.__await__()
        return self.answer()


def many(topic: Topic, events: bytes, request_id: int, rows: bytes) -> Answer:
    """200: a result for each of a batch. The id of each is the first 16 bytes of its event."""
    refuse_reused(rows, request_id)
    body = f'{{"request_id":"{request_id:032x}","results":[{_results(topic, events, rows)}]}}'
    return 200, JSON, _replayed(rows), body.encode()


def _results(topic: Topic, events: bytes, rows: bytes) -> str:
    known = topic.meanings
    results = []
    at = 0
    for timestamp, status, _ in _ROW.iter_unpack(rows):
        told = known.get(status) or topic.meaning(status)
        shown = events[at : at + 16][::-1].hex()
        results.append(f'{{"id":"{shown}","status":"{told.name}","timestamp":"{timestamp}"}}')
        at += EVENT_SIZE
    return ",".join(results)


def bundled(topic: Topic, events: bytes, request_id: int, digest: bytes, rows: bytes) -> str:
    """One request's result in a bundle, as JSON. Raises the problem `idempotency_key_reused`."""
    if not rows:
        where = location(request_id, digest, topic)
        return (
            f'{{"status":"not_decided","request_id":"{request_id:032x}","location":"{where}",'
            f'"retry_after":{RETRY_AFTER_S}}}'
        )
    refuse_reused(rows, request_id)
    replayed = "true" if any(rows[12:16]) else "false"
    return (
        f'{{"status":"decided","request_id":"{request_id:032x}","replayed":{replayed},'
        f'"results":[{_results(topic, events, rows)}]}}'
    )


def bundled_problem(problem: Problem, request_id: int | None) -> str:
    """Why one request of a bundle got no outcome, as JSON."""
    told: dict[str, Any] = {"status": "problem", "problem": problem.shown()}
    if request_id is not None:
        told["request_id"] = ids.show(request_id)
    if "retry-after" in problem.headers:
        told["retry_after"] = int(problem.headers["retry-after"])
    return msgspec.json.encode(told).decode()


def payment(own_id: int, places: Sequence[tuple[int, str, int | None]], request_id: int, rows: bytes) -> Answer:
    """201 about a payment, posting, voiding or reversal as one thing. `places`: (id, where it stands in the request,
    which leg) of each transfer of its chain.

    Raises the problem `refused`, which names the part that the ledger refused, and `idempotency_key_reused`.
    """
    refuse_reused(rows, request_id)
    told = [(timestamp, TRANSFER.meaning(status)) for timestamp, status, _ in _ROW.iter_unpack(rows)]
    legs = [
        (leg, {"id": ids.show(id), "status": meaning.name, "timestamp": str(timestamp)})
        for (id, _, leg), (timestamp, meaning) in zip(places, told, strict=True)
        if leg is not None
    ]
    shown = [each for _, each in sorted(legs, key=lambda pair: pair[0])]
    # The first that is neither: a chain's other members are taken back because of it.
    culprit = next((at for at, (_, meaning) in enumerate(told) if meaning.name not in _BYSTANDERS), None)
    if culprit is None:
        timestamp = next(
            timestamp
            for (_, _, leg), (timestamp, _) in reversed(list(zip(places, told, strict=True)))
            if leg is not None
        )
        body = {
            "id": ids.show(own_id),
            "status": "created",
            "timestamp": str(timestamp),
            "request_id": ids.show(request_id),
            "legs": shown,
        }
        return 201, JSON, _replayed(rows), msgspec.json.encode(body)
    timestamp, meaning = told[culprit]
    place = places[culprit][1]
    members: dict[str, Any] = {
        "outcome": meaning.name,
        "transient": meaning.transient,
        "id": ids.show(own_id),
        "timestamp": str(timestamp),
        "request_id": ids.show(request_id),
        "legs": shown,
    }
    detail = f"the ledger refused: {meaning.name.replace('_', ' ')}"
    if meaning.name not in _OF_THE_WHOLE:
        members["field"], detail = place, f"{detail} ({place})"
    raise Problem("refused", detail, dict(_replayed(rows)) or None, **members)


def binary(request_id: int, rows: bytes) -> Answer:
    """200: the `RESULT` rows as they are."""
    refuse_reused(rows, request_id)
    return 200, BINARY, _replayed(rows), rows


def request(topic: Topic, request_id: int, rows: bytes) -> Answer:
    """200: the recorded results of a request that was asked for by its id."""
    results = ",".join(
        f'{{"status":"{topic.meaning(status).name}","timestamp":"{timestamp}"}}'
        for timestamp, status, _ in _ROW.iter_unpack(rows)
    )
    body = f'{{"request_id":"{request_id:032x}","status":"decided","results":[{results}]}}'
    return 200, JSON, _NONE, body.encode()


def _replayed(rows: bytes) -> Headers:
    return _REPLAYED if any(rows[12:16]) else _NONE
