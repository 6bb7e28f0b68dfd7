"""From an HTTP answer to what a history notes: what kind of answer it was, and its rows. Pure.

The rows are packed from the JSON, every field of it, so that a wrong field anywhere is a contradiction.
"""

import struct
from typing import Any

from tallystick import ids
from tallystick.client.http import Answer
from tallystick.lab.history.calls import Told
from tallystick.records import objects
from tallystick.records.commands import AccountFlag, Kind, Side, TransferFlag
from tallystick.records.objects import Account, Transfer
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

_ROW = struct.Struct("<QII")
_EXTRA = struct.Struct("<16sII")
_STATUSES = {
    kind: {str(status.name).lower(): int(status) for status in known}
    for kind, known in ((Kind.TRANSFER, TransferStatus), (Kind.ACCOUNT, AccountStatus), (Kind.CONTROL, ControlStatus))
}
_FROZEN = {"none": 0, "debits": Side.DEBITS, "credits": Side.CREDITS, "both": Side.BOTH}
_REUSED = "/problems/idempotency_key_reused"
_REFUSED = "/problems/refused"
_MAY_BE_WRITTEN = frozenset({500, 502, 504})
_NOTHING_WRITTEN = frozenset({429, 503})


class Unexpected(Exception):
    """An answer that no honest gateway gives to these clients, or one that they brought upon themselves."""


def submitted(answer: Answer, kind: Kind, many: bool, binary: bool) -> tuple[Told, bytes]:
    """What a gateway said to a request. Raises `Unexpected`."""
    http = answer.status
    if http == 202:
        return Told.ACCEPTED, b""
    if http in _NOTHING_WRITTEN:
        return Told.NOTHING_WRITTEN, b""
    if http in _MAY_BE_WRITTEN:
        return Told.UNKNOWN, b""
    if binary and http == 200:
        return Told.DECIDED, answer.body
    body = answer.json()
    if http == 422 and body.get("type") == _REUSED:
        return Told.KEY_REUSED, b""
    replayed = answer.headers.get("Idempotent-Replayed") == "true"
    if http in (200, 201) and many:
        return Told.DECIDED, b"".join(_result(kind, row, row["status"], replayed) for row in body["results"])
    if http in (200, 201):
        return Told.DECIDED, _result(kind, body, body["status"], replayed)
    if http == 422 and body.get("type") == _REFUSED:
        return Told.DECIDED, _result(kind, body, body["outcome"], replayed)
    raise Unexpected(f"HTTP {http} {answer.body[:300]!r}")


def _result(kind: Kind, row: dict[str, Any], status: str, replayed: bool) -> bytes:
    return _ROW.pack(int(row["timestamp"]), _STATUSES[kind][status], replayed)


def request(answer: Answer, kind: Kind) -> tuple[Told, bytes]:
    """What a gateway said about a request's results. Raises `Unexpected`."""
    if answer.status == 202:
        return Told.NOT_DECIDED, b""
    if answer.status >= 500:
        return Told.UNKNOWN, b""
    body = answer.json()
    if answer.status == 422 and body.get("type") == _REUSED:
        return Told.KEY_REUSED, b""
    if answer.status != 200:
        raise Unexpected(f"HTTP {answer.status} {answer.body[:300]!r}")
    return Told.DECIDED, b"".join(_result(kind, row, row["status"], True) for row in body["results"])


def accounts(answer: Answer) -> tuple[Told, bytes]:
    """`SHOWN_ACCOUNT` rows of a look-up. Raises `Unexpected`."""
    return _shown(answer, "accounts", _account)


def transfers(answer: Answer) -> tuple[Told, bytes]:
    """`TRANSFER_EVENT` rows of a look-up. Raises `Unexpected`."""
    return _shown(answer, "transfers", _transfer)


def _shown(answer: Answer, noun: str, pack: Any) -> tuple[Told, bytes]:
    if answer.status >= 500:
        return Told.UNKNOWN, b""
    if answer.status == 404:
        return Told.SHOWN, b""
    if answer.status != 200:
        raise Unexpected(f"HTTP {answer.status} {answer.body[:300]!r}")
    body = answer.json()
    rows = body.get(noun, [body])
    return Told.SHOWN, b"".join(pack(row) for row in rows)


def _account(row: dict[str, Any]) -> bytes:
    event = objects.pack_account(
        Account(
            id=ids.parse(row["id"]),
            ledger=row["ledger"],
            code=row["code"],
            flags=_flags(row["flags"], AccountFlag),
            debits_pending=int(row["debits_pending"]),
            debits_posted=int(row["debits_posted"]),
            credits_pending=int(row["credits_pending"]),
            credits_posted=int(row["credits_posted"]),
            user_data_128=ids.parse(row["user_data_128"]),
            user_data_64=int(row["user_data_64"]),
            user_data_32=row["user_data_32"],
            timestamp=int(row["timestamp"]),
        )
    )
    return event + _EXTRA.pack(int(row["credit_limit"]).to_bytes(16, "little"), _FROZEN[row["frozen"]], 0)


def _transfer(row: dict[str, Any]) -> bytes:
    return objects.pack_transfer(
        Transfer(
            id=ids.parse(row["id"]),
            debit_account_id=ids.parse(row["debit_account_id"]),
            credit_account_id=ids.parse(row["credit_account_id"]),
            amount=int(row["amount"]),
            ledger=row["ledger"],
            code=row["code"],
            flags=_flags(row["flags"], TransferFlag),
            pending_id=ids.parse(row["pending_id"]),
            user_data_128=ids.parse(row["user_data_128"]),
            user_data_64=int(row["user_data_64"]),
            user_data_32=row["user_data_32"],
            timeout=row["timeout"],
            timestamp=int(row["timestamp"]),
        )
    )


def _flags(names: list[str], flags: Any) -> Any:
    bits = flags(0)
    for name in names:
        bits |= flags[name.upper()]
    return bits
