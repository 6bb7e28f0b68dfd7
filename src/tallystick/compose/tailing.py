"""The journal as lines of text, followed to its durable end and on."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tallystick import ids, statuses
from tallystick.blockfile.disk import SystemDisk
from tallystick.compose.journals import Place
from tallystick.errors import Invalid
from tallystick.journal.follow import POLL_S, Cursor, rows_from, slices
from tallystick.records import placements
from tallystick.records.commands import Kind, Opcode
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, TRANSFER_WORK, WORK
from tallystick.settings import Settings
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

AT_ONCE = 1_000
_STATUSES: dict[int, dict[int, str]] = {
    int(kind): {statuses.stored(status): statuses.name(status) for status in known}
    for kind, known in (
        (Kind.TRANSFER, TransferStatus),
        (Kind.EXPIRY, TransferStatus),
        (Kind.ACCOUNT, AccountStatus),
        (Kind.CONTROL, ControlStatus),
        (Kind.PLACEMENT, ControlStatus),
    )
}


def lines(
    settings: Settings, count: int, position: int | None, follow: bool, tenant: int | None, as_json: bool
) -> Iterator[str]:
    """A line for each entry but seals, from `position` on, or the last `count` before the end as it is now.

    Raises `Invalid` if there is no journal, or for a position past its end; `Corrupt` if a block is damaged.
    """
    place = Place.of(settings)
    if not place.url and not settings.path("journal").is_dir():
        raise Invalid("", f"{settings.data} holds no journal; name the folder of one")
    journal = place.reader(SystemDisk())
    waiting = threading.Event()
    try:
        end = journal.end()
        if position is not None and position > end:
            raise Invalid("--from", f"is past the end, {end}")
        cursor = Cursor(max(0, end - count) if position is None else position, None)
        while True:
            for each in slices(journal, cursor, AT_ONCE):
                entries, _ = rows_from(each.blocks, cursor.next_seq)
                cursor = each.after
                for entry in entries.view(WORK):
                    if entry["kind"] != Kind.SEAL and tenant in (None, int(entry["tenant"])):
                        told = _told(entry)
                        yield json.dumps(told) if as_json else _shown(told)
            if not follow:
                return
            waiting.wait(POLL_S)
    finally:
        journal.close()


def _id(row: Any, name: str) -> str:
    return ids.show(int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64)


def _told(entry: Any) -> dict[str, Any]:
    kind = Kind(int(entry["kind"]))
    told: dict[str, Any] = {
        "position": str(entry["seq"]),
        "timestamp": str(entry["timestamp"]),
        "tenant": str(entry["tenant"]),
        "kind": kind.name.lower(),
        "status": _STATUSES[kind].get(int(entry["status"]), str(entry["status"])),
    }
    if kind is Kind.ACCOUNT:
        account = entry.view(ACCOUNT_WORK)
        return {**told, "id": _id(account, "id"), "ledger": int(account["ledger"]), "code": int(account["code"])}
    if kind is Kind.CONTROL:
        control = entry.view(CONTROL_WORK)
        opcode = int(control["opcode"])
        known = opcode in tuple(Opcode)
        about = "value" if known and opcode >= Opcode.APPROVE else "account_id"
        return {**told, "opcode": Opcode(opcode).name.lower() if known else opcode, "id": _id(control, about)}
    if kind is Kind.PLACEMENT:
        where = placements.home(int(entry.view(CONTROL_WORK)["value_lo"]))
        assert where is not None
        return {**told, "shard": where.shard, "moving": where.moving}
    transfer = entry.view(TRANSFER_WORK)
    names = ("pending_id",) if kind is Kind.EXPIRY else ("id", "debit_account_id", "credit_account_id")
    shown = {name: _id(transfer, name) for name in names}
    return {**told, **shown, "amount": str(int(transfer["moved_lo"]) | int(transfer["moved_hi"]) << 64)}


def _shown(told: dict[str, Any]) -> str:
    """As a person reads it: position, time, what, and what became of it."""
    seconds, nanoseconds = divmod(int(told["timestamp"]), 1_000_000_000)
    time = f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{nanoseconds // 1_000_000:03}"
    head = f"{told['position']:>10}  {time}  {told.get('opcode', told['kind']):<12} {told['status']:<10}"
    if "debit_account_id" in told:
        return f"{head} {told['amount']:>15}  {_short(told['debit_account_id'])} → {_short(told['credit_account_id'])}"
    if told["kind"] == "expiry":
        return f"{head} {told['amount']:>15}  of {_short(told['pending_id'])}"
    if told["kind"] == "placement":
        return f"{head} {'':>15}  tenant {told['tenant']} in shard {told['shard']}{', moving' * told['moving']}"
    return f"{head} {'':>15}  {_short(told['id'])}"


def _short(id_: str) -> str:
    return id_.lstrip("0") or "0"
