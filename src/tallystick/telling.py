"""What is told of an entry outside, by webhook or through a broker: which type it has, and a few of its fields.

Only the entry is looked at, the part that a receipt shows. Its details stay here: what screening thought of a payment,
or how many sales a shop makes, is nothing for what leaves the platform (ADR 0004). Who wants more asks for it by id,
with a key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick import ids, statuses
from tallystick.errors import Corrupt
from tallystick.records.commands import Kind, Opcode, Side, TransferFlag
from tallystick.records.entries import ACCOUNT_WORK, CARRIED, CONTROL_WORK, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK, AccountStatus, ControlStatus, TransferStatus
from tallystick.webhooks.types import Type

ORDER = tuple(Type)
"""Types by the numbers that `types_of` gives."""
NONE = 255
_NUMBER = {type_: number for number, type_ in enumerate(ORDER)}
_POST, _VOID, _PENDING = (
    int(flag) for flag in (TransferFlag.POST_PENDING_TRANSFER, TransferFlag.VOID_PENDING_TRANSFER, TransferFlag.PENDING)
)
_OPCODES = {
    Opcode.FREEZE: Type.ACCOUNT_FROZEN,
    Opcode.UNFREEZE: Type.ACCOUNT_UNFROZEN,
    Opcode.CREDIT_LIMIT: Type.ACCOUNT_LIMIT_CHANGED,
    Opcode.APPROVE: Type.REVIEW_APPROVED,
    Opcode.REJECT: Type.REVIEW_REJECTED,
}
_DECIDES = (int(Opcode.APPROVE), int(Opcode.REJECT))
_SIDES = {Side.DEBITS: "debits", Side.CREDITS: "credits", Side.BOTH: "both"}
_STATUSES = {
    kind: {statuses.stored(status): statuses.name(status) for status in table}
    for kind, table in (
        (Kind.TRANSFER, TransferStatus),
        (Kind.ACCOUNT, AccountStatus),
        (Kind.CONTROL, ControlStatus),
    )
}
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one entry, to everybody the same."""

    seq: int
    tenant: int
    type: Type
    timestamp_ns: int
    """When it was decided."""
    nonce: bytes
    """16 random bytes of the entry, which no other entry has."""
    data: dict[str, Any]
    """Texts and small whole numbers, by the names of `webhooks.types.TABLE`."""


def types_of(work: npt.NDArray[np.void], carried: bool = False) -> npt.NDArray[np.uint8]:
    """The type of each entry (`WORK`) as a number of `ORDER`; `NONE`: nothing is told of it.

    Of copies that came with a tenant from another shard nothing is, since that has told of them, unless `carried`.
    """
    kind, done = work["kind"], work["status"] == STORED_MASK
    found = np.full(len(work), NONE, np.uint8)

    transfers = kind == Kind.TRANSFER
    flags = work["flag_bits_effective"]
    found[transfers & done] = _NUMBER[Type.TRANSFER_CREATED]
    for bit, type_ in (
        (_PENDING, Type.TRANSFER_PENDING),
        (_POST, Type.TRANSFER_POSTED),
        (_VOID, Type.TRANSFER_VOIDED),
    ):
        found[transfers & done & (flags & bit != 0)] = _NUMBER[type_]
    found[transfers & ~done & (work["status"] != int(TransferStatus.EXISTS))] = _NUMBER[Type.TRANSFER_REFUSED]
    found[kind == Kind.EXPIRY] = _NUMBER[Type.TRANSFER_EXPIRED]

    accounts = kind == Kind.ACCOUNT
    found[accounts & done] = _NUMBER[Type.ACCOUNT_OPENED]
    found[accounts & ~done & (work["status"] != int(AccountStatus.EXISTS))] = _NUMBER[Type.ACCOUNT_REFUSED]

    controls = kind == Kind.CONTROL
    found[controls & ~done] = _NUMBER[Type.CONTROL_REFUSED]
    opcodes = work.view(CONTROL_WORK)["opcode"]
    for opcode, type_ in _OPCODES.items():
        found[controls & done & (opcodes == int(opcode))] = _NUMBER[type_]
    if not carried:
        found[work["version"] == CARRIED] = NONE
    return found


def told(work: npt.NDArray[np.void], types: npt.NDArray[np.uint8]) -> list[Told]:
    """One for each of these entries (`WORK`), whose `types` are known and not `NONE`, in their order."""
    kinds = np.where(work["kind"] == Kind.EXPIRY, np.uint8(Kind.TRANSFER), work["kind"])
    found: list[Told | None] = [None] * len(work)
    for kind, tell in ((Kind.TRANSFER, _transfers), (Kind.ACCOUNT, _accounts), (Kind.CONTROL, _controls)):
        places = np.flatnonzero(kinds == kind)
        if not len(places):
            continue
        rows, names = rows_at(work, places), [ORDER[number] for number in types[places].tolist()]
        heads = zip(
            places.tolist(),
            names,
            *(rows[name].tolist() for name in ("seq", "tenant", "timestamp", "shard", "status")),
            _wide(rows, "request_id"),
            _blobs(rows["nonce"]),
            strict=True,
        )
        for head, own in zip(heads, tell(rows, names), strict=True):
            place, type_, seq, tenant, timestamp, shard, status, request_id, nonce = head
            data = {
                "position": str(seq),
                "shard": shard,
                "status": _status(kind, status, seq),
                "timestamp": str(timestamp),
                **own,
            }
            if request_id:
                data["request_id"] = ids.show(request_id)
            found[place] = Told(seq, tenant, type_, timestamp, nonce, data)
    return [each for each in found if each is not None]


def rows_at(work: npt.NDArray[np.void], places: npt.NDArray[np.intp]) -> npt.NDArray[np.void]:
    """These of the entries (`WORK`), copied as bytes: NumPy copies rows of many fields field by field."""
    rows: npt.NDArray[np.void] = work.view(f"V{WORK.itemsize}")[places].view(WORK)
    return rows


def instant(timestamp_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339, none of them lost."""
    seconds, nanoseconds = divmod(timestamp_ns, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def _transfers(work: npt.NDArray[np.void], types: list[Type]) -> Iterator[dict[str, Any]]:
    rows = work.view(TRANSFER_WORK)
    columns = zip(
        types,
        *(_wide(rows, name) for name in ("id", "debit_account_id", "credit_account_id", "pending_id", "moved")),
        _wide(rows, "amount"),
        rows["ledger"].tolist(),
        rows["code"].tolist(),
        strict=True,
    )
    for type_, id_, debit, credit, pending, moved, asked, ledger, code in columns:
        refused = type_ is Type.TRANSFER_REFUSED
        own: dict[str, Any] = {}
        if type_ is not Type.TRANSFER_EXPIRED:
            own["transfer_id"] = ids.show(id_)
        if type_ in _WITH_ACCOUNTS:
            own |= {
                name: ids.show(number)
                for name, number in (("debit_account_id", debit), ("credit_account_id", credit))
                if number
            }
        if pending:
            own["pending_id"] = ids.show(pending)
        own["amount"] = str(asked if refused else moved)
        if type_ in _WITH_ACCOUNTS:
            own |= {name: number for name, number in (("ledger", ledger), ("code", code)) if number}
        yield own


_WITH_ACCOUNTS = frozenset({Type.TRANSFER_CREATED, Type.TRANSFER_PENDING, Type.TRANSFER_REFUSED})


def _accounts(work: npt.NDArray[np.void], _types: list[Type]) -> Iterator[dict[str, Any]]:
    rows = work.view(ACCOUNT_WORK)
    for id_, ledger, code in zip(_wide(rows, "id"), rows["ledger"].tolist(), rows["code"].tolist(), strict=True):
        yield {"account_id": ids.show(id_)} | {
            name: number for name, number in (("ledger", ledger), ("code", code)) if number
        }


def _controls(work: npt.NDArray[np.void], types: list[Type]) -> Iterator[dict[str, Any]]:
    rows = work.view(CONTROL_WORK)
    columns = zip(types, _wide(rows, "account_id"), _wide(rows, "value"), rows["opcode"].tolist(), strict=True)
    for type_, account, value, opcode in columns:
        own = {"account_id": ids.show(account)} if account else {}
        if opcode in _DECIDES:
            own["pending_id"] = ids.show(value)
        elif type_ in (Type.ACCOUNT_FROZEN, Type.ACCOUNT_UNFROZEN):
            own["side"] = _SIDES[Side(value)]
        elif type_ is Type.ACCOUNT_LIMIT_CHANGED:
            own["credit_limit"] = str(value)
        yield own


def _blobs(column: npt.NDArray[np.uint64]) -> list[bytes]:
    """Each row of two words as its 16 bytes."""
    found: list[bytes] = np.ascontiguousarray(column).view("V16").reshape(-1).tolist()
    return found


def _wide(rows: npt.NDArray[np.void], name: str) -> list[int]:
    """A u128 column as numbers."""
    low, high = rows[f"{name}_lo"].tolist(), rows[f"{name}_hi"].tolist()
    return [lo | hi << 64 for lo, hi in zip(low, high, strict=True)]


def _status(kind: Kind, stored: int, seq: int) -> str:
    name = _STATUSES[kind].get(stored)
    if name is None:
        raise Corrupt(f"entry {seq} has status {stored}, which this program does not know; upgrade it")
    return name
