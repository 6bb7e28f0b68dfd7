"""From `RESULT` rows to answers: status names, bodies, headers. Bodies of the hot path are put together as bytes;
a test holds each against its struct in `shapes`.
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

from tallystick import ids, statuses
from tallystick.answers.port import RESULT
from tallystick.errors import Corrupt
from tallystick.gateway.problems import Problem
from tallystick.records.commands import Kind
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus

Headers: TypeAlias = tuple[tuple[str, str], ...]
Answer: TypeAlias = tuple[int, str, Headers, bytes]
"""HTTP status, content type, further headers, body."""

JSON = "application/json"
BINARY = "application/octet-stream"
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


MEANINGS: dict[Kind, dict[int, Meaning]] = {
    Kind.TRANSFER: _meanings(TransferStatus),
    Kind.ACCOUNT: _meanings(AccountStatus),
    Kind.CONTROL: _meanings(ControlStatus),
}
NOUNS = {Kind.TRANSFER: "transfer", Kind.ACCOUNT: "account", Kind.CONTROL: "control"}
KINDS = {noun: kind for kind, noun in NOUNS.items()}


def meaning(kind: Kind, status: int) -> Meaning:
    """What this status says of a command of this kind. Raises `Corrupt` for a number this program does not know."""
    found = MEANINGS[kind].get(status)
    if found is None:
        raise Corrupt(f"the engine gave status {status} to a command of kind {kind}; is the gateway older?")
    return found


def location(request_id: int, digest: bytes, kind: Kind) -> str:
    """Where a request's results can be asked for."""
    return f"/v1/requests/{request_id:032x}?fingerprint={digest.hex()}&kind={NOUNS[kind]}"


def not_decided(request_id: int, digest: bytes, kind: Kind) -> Answer:
    """202: durable, not known to be decided."""
    where = location(request_id, digest, kind)
    body = f'{{"request_id":"{request_id:032x}","status":"not_decided","location":"{where}"}}'
    return 202, JSON, (("location", where), ("retry-after", "1")), body.encode()


def refuse_reused(rows: bytes, request_id: int) -> None:
    """Raises the problem `idempotency_key_reused` if that is what the rows say."""
    if rows[8:12] == _REUSED:
        detail = "this request id was used before with other content; that request's results are not shown here"
        raise Problem("idempotency_key_reused", detail, request_id=ids.show(request_id))


_REUSED = RequestStatus.IDEMPOTENCY_KEY_REUSED.to_bytes(4, "little")


def one(kind: Kind, noun: str, subject: bytes, request_id: int, rows: bytes) -> Answer:
    """The answer about a request of one command on `subject` (16 bytes of id), shown under the name `noun`."""
    timestamp, status, replayed = _ROW.unpack(rows)
    refuse_reused(rows, request_id)
    told = meaning(kind, status)
    shown = subject[::-1].hex()
    if told.http == 422:
        members = {
            "outcome": told.name,
            "transient": told.transient,
            noun: shown,
            "timestamp": str(timestamp),
            "request_id": ids.show(request_id),
        }
        detail = f"the ledger refused: {told.name.replace('_', ' ')}"
        raise Problem("refused", detail, dict(_REPLAYED) if replayed else None, **members)
    body = f'{{"{noun}":"{shown}","status":"{told.name}","timestamp":"{timestamp}","request_id":"{request_id:032x}"}}'
    http = 200 if kind is Kind.CONTROL else told.http
    return http, JSON, _REPLAYED if replayed else _NONE, body.encode()


def many(kind: Kind, events: bytes, event_size: int, request_id: int, rows: bytes) -> Answer:
    """200: a result for each of a batch. The id of each is the first 16 bytes of its event."""
    refuse_reused(rows, request_id)
    known = MEANINGS[kind]
    results = []
    at = 0
    for timestamp, status, _ in _ROW.iter_unpack(rows):
        told = known.get(status) or meaning(kind, status)
        shown = events[at : at + 16][::-1].hex()
        results.append(f'{{"id":"{shown}","status":"{told.name}","timestamp":"{timestamp}"}}')
        at += event_size
    body = f'{{"request_id":"{request_id:032x}","results":[{",".join(results)}]}}'
    return 200, JSON, _replayed(rows), body.encode()


def binary(request_id: int, rows: bytes) -> Answer:
    """200: the `RESULT` rows as they are."""
    refuse_reused(rows, request_id)
    return 200, BINARY, _replayed(rows), rows


def request(kind: Kind, request_id: int, rows: bytes) -> Answer:
    """200: the recorded results of a request that was asked for by its id."""
    results = ",".join(
        f'{{"status":"{meaning(kind, status).name}","timestamp":"{timestamp}"}}'
        for timestamp, status, _ in _ROW.iter_unpack(rows)
    )
    body = f'{{"request_id":"{request_id:032x}","status":"decided","results":[{results}]}}'
    return 200, JSON, _NONE, body.encode()


def _replayed(rows: bytes) -> Headers:
    return _REPLAYED if any(rows[12:16]) else _NONE
