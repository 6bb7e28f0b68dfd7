"""Lines of one account: all entries that concern it, in order, each with its number and how the account stood after it.

They stand in several tables (transfers by either side, what resolves them, notes), each with an index by account whose
rows come in order of seq; so any stretch is a merge of a few short reads. Their numbers have no gap: a row that is
missing in any of the tables shows in what is read, and is `Corrupt`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice, pairwise
from typing import Any, NamedTuple

from tallystick.errors import Corrupt
from tallystick.projector import columns
from tallystick.projector.port import Tables
from tallystick.records.changes import ChangeEventType
from tallystick.records.commands import Opcode, TransferFlag

Balances = tuple[int, int, int, int]
"""Debits pending, debits posted, credits pending, credits posted."""
NOTHING: Balances = (0, 0, 0, 0)

_OPENING = "open"
_RESOLVED = {
    int(ChangeEventType.TWO_PHASE_EXPIRED): "expire",
    int(ChangeEventType.TWO_PHASE_POSTED): "approve",
    int(ChangeEventType.TWO_PHASE_VOIDED): "reject",
}
_NOTED = {
    int(Opcode.FREEZE): "freeze",
    int(Opcode.UNFREEZE): "unfreeze",
    int(Opcode.CREDIT_LIMIT): "credit_limit",
    int(Opcode.APPROVE): "approve",
}


class Account(NamedTuple):
    """What of an account's row its lines are read with."""

    seq: int
    ledger: int
    code: int
    opened_at: int
    lines: int
    """How many there are at the cursor."""


class Moved(NamedTuple):
    """The transfer that a line is about."""

    id: bytes
    other_id: bytes
    amount: bytes
    pending_id: bytes | None
    code: int
    user_data_128: bytes | None
    user_data_64: int | None
    user_data_32: int | None
    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class Line:
    """One entry that concerns the account. `balances`: None if it moved nothing, then they are as before."""

    seq: int
    sequence: int
    decided_at: int
    type: str
    debited: bool = False
    balances: Balances | None = None
    moved: Moved | None = None
    value: int | None = None


def account(tables: Tables, tenant: int, account_id: bytes) -> Account | None:
    """The account, if there is one."""
    row = tables.execute(_ACCOUNT, (columns.to_signed(tenant), account_id)).fetchone()
    return None if row is None else Account(*row)


def between(tables: Tables, of: Account, first: int, end: int, limit: int) -> list[Line]:
    """The account's lines with `first` ≤ seq < `end`, at most `limit`, in order.

    Raises `Corrupt` if their numbers do not follow each other.
    """
    bounds = (of.seq, first, end, limit)
    sources: list[Iterator[Line]] = [
        map(_debited, tables.execute(_TRANSFERS.format("debit", "credit"), bounds)),
        map(_credited, tables.execute(_TRANSFERS.format("credit", "debit"), bounds)),
        map(_debit_resolved, tables.execute(_RESOLUTIONS.format("debit", "credit"), bounds)),
        map(_credit_resolved, tables.execute(_RESOLUTIONS.format("credit", "debit"), bounds)),
        map(_noted, tables.execute(_NOTES, bounds)),
    ]
    if first <= of.seq < end:
        sources.append(iter([Line(of.seq, 1, of.opened_at, _OPENING, balances=NOTHING)]))
    found = list(islice(merge(*sources, key=lambda line: line.seq), limit))
    for before, line in pairwise(found):
        if line.sequence != before.sequence + 1:
            raise Corrupt(f"an account's line {before.sequence} is followed by line {line.sequence}: lines are missing")
    return found


def last_before(tables: Tables, of: Account, end: int) -> tuple[int, Balances]:
    """Number of the account's last line with seq < `end`, and its balances after it; 0 if it was opened later."""
    if end <= of.seq:
        return 0, NOTHING
    sequence, moved_at, balances = 1, of.seq, NOTHING
    for statement, debited in _LAST:
        row = tables.execute(statement, (of.seq, end)).fetchone()
        if row is not None:
            sequence = max(sequence, row[1])
            if row[0] > moved_at:
                moved_at, balances = row[0], _balances(row[2], debited)
    row = tables.execute(_LAST_NOTE, (of.seq, end)).fetchone()
    return max(sequence, row[1] if row else 0), balances


def first_from(tables: Tables, end: int, at_ns: int) -> int:
    """The first seq (of any tenant's) that was decided at `at_ns` or later; `end` if none of those before it was."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        found = [row for row in (tables.execute(each, (middle,)).fetchone() for each in _NEXT) if row is not None]
        if not found:
            high = middle
            continue
        seq, decided_at = min(found)
        if decided_at >= at_ns:
            high = middle
        else:
            low = seq + 1
    return low


def _balances(blob: bytes, debited: bool) -> Balances:
    start = 0 if debited else 64
    debits_pending, debits_posted, credits_pending, credits_posted = (
        int.from_bytes(blob[at : at + 16], "big") for at in range(start, start + 64, 16)
    )
    return debits_pending, debits_posted, credits_pending, credits_posted


def _type(flags: int) -> str:
    if flags & TransferFlag.PENDING:
        return "pending"
    if flags & TransferFlag.POST_PENDING_TRANSFER:
        return "post"
    if flags & TransferFlag.VOID_PENDING_TRANSFER:
        return "void"
    return "transfer"


def _transfer(row: tuple[Any, ...], debited: bool) -> Line:
    seq, sequence, decided_at, balances, flags, *moved = row
    return Line(seq, sequence, decided_at, _type(flags), debited, _balances(balances, debited), Moved(*moved))


def _debited(row: tuple[Any, ...]) -> Line:
    return _transfer(row, True)


def _credited(row: tuple[Any, ...]) -> Line:
    return _transfer(row, False)


def _resolution(row: tuple[Any, ...], debited: bool) -> Line:
    seq, sequence, decided_at, balances, type_, *moved = row
    return Line(seq, sequence, decided_at, _RESOLVED[type_], debited, _balances(balances, debited), Moved(*moved))


def _debit_resolved(row: tuple[Any, ...]) -> Line:
    return _resolution(row, True)


def _credit_resolved(row: tuple[Any, ...]) -> Line:
    return _resolution(row, False)


def _noted(row: tuple[Any, ...]) -> Line:
    seq, sequence, decided_at, opcode, value = row
    # Of an approval that moves nothing the value is its pending transfer's seq: nothing for whoever reads a statement.
    shown = None if opcode == Opcode.APPROVE else int.from_bytes(value, "big")
    return Line(seq, sequence, decided_at, _NOTED[opcode], value=shown)


_ACCOUNT = "SELECT seq, ledger, code, timestamp, lines FROM accounts WHERE tenant = ? AND id = ?"
_MOVED = "o.id, {amount}, {pending}, {x}.code, {x}.user_data_128, {x}.user_data_64, {x}.user_data_32, {x}.metadata"
# {0}: the account's own side, {1}: the other one.
_TRANSFERS = (
    "SELECT t.seq, t.{0}_sequence, t.decided_at, t.balances, t.flags, t.id, "
    + _MOVED.format(amount="t.amount", pending="p.id", x="t")
    + " FROM transfers t INDEXED BY transfers_by_{0} CROSS JOIN accounts o ON o.seq = t.{1} "
    "LEFT JOIN transfers p ON p.seq = t.pending_seq WHERE t.{0} = ? AND t.seq >= ? AND t.seq < ? ORDER BY t.seq LIMIT ?"
)
_RESOLUTIONS = (
    "SELECT t.seq, t.{0}_sequence, t.decided_at, t.balances, t.type, x.id, "
    + _MOVED.format(amount="x.amount", pending="x.id", x="x")
    + " FROM resolutions t INDEXED BY resolutions_by_{0} CROSS JOIN accounts o ON o.seq = t.{1} "
    "CROSS JOIN transfers x ON x.seq = t.pending_seq "
    "WHERE t.{0} = ? AND t.seq >= ? AND t.seq < ? ORDER BY t.seq LIMIT ?"
)
_NOTES = (
    "SELECT seq, sequence, decided_at, opcode, value FROM notes "
    "WHERE account = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?"
)
_LAST = tuple(
    (
        f"SELECT seq, {side}_sequence, balances FROM {table} INDEXED BY {table}_by_{side} "
        f"WHERE {side} = ? AND seq < ? ORDER BY seq DESC LIMIT 1",
        side == "debit",
    )
    for table in ("transfers", "resolutions")
    for side in ("debit", "credit")
)
_LAST_NOTE = "SELECT seq, sequence FROM notes WHERE account = ? AND seq < ? ORDER BY seq DESC LIMIT 1"
_NEXT = (
    "SELECT seq, decided_at FROM transfers WHERE seq >= ? ORDER BY seq LIMIT 1",
    "SELECT seq, decided_at FROM resolutions WHERE seq >= ? ORDER BY seq LIMIT 1",
)
