"""The judge of every run: reads the journal itself and holds it against what clients were told.

It shares no code with the ledger kernel. Balances are folded from the entries with plain integers, so a mistake in
the kernel is not repeated here. It knows plain and two-phase transfers, which is all that the lab sends, and says so
if it meets another.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick import statuses
from tallystick.blockfile.disk import SystemDisk
from tallystick.compose.journals import Place
from tallystick.errors import Corrupt
from tallystick.lab.plan import Payments
from tallystick.records.commands import Kind, TransferFlag
from tallystick.records.entries import TRANSFER_WORK
from tallystick.statuses import TransferStatus

JOURNAL_FOLDER = "journal"
CREATED_STORED = statuses.stored(TransferStatus.CREATED)

Balances = dict[int, list[int]]
"""By account id: debits posted, credits posted, in minor units."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the journal."""

    entries: int
    """All of them, seals included."""
    seals: int
    transfers: npt.NDArray[np.void]
    """Entries of transfers, as `TRANSFER_WORK` rows."""


def read(data: Path | Place) -> Found:
    """The whole journal in data folder `data`, every block verified. Raises `Corrupt` if one fails."""
    kinds: Counter[int] = Counter()
    transfers = []
    next_seq = 0
    for entries in _blocks(data):
        kinds.update(entries["kind"].tolist())
        if entries["seq"].tolist() != list(range(next_seq, next_seq + len(entries))):
            raise Corrupt(f"entries from {next_seq} are not numbered without a gap")
        next_seq += len(entries)
        transfers.append(entries[entries["kind"] == Kind.TRANSFER].view(TRANSFER_WORK))
    rows = np.concatenate(transfers) if transfers else np.zeros(0, TRANSFER_WORK)
    return Found(entries=next_seq, seals=kinds[Kind.SEAL], transfers=rows)


def _place(data: Path | Place) -> Place:
    """A data folder stands for its journal in files."""
    return data if isinstance(data, Place) else Place(data)


def _blocks(data: Path | Place) -> Iterator[npt.NDArray[np.void]]:
    reader = _place(data).reader(SystemDisk())
    try:
        for block in reader.read(0):
            yield block.entries.copy()
    finally:
        reader.close()


def end(data: Path | Place) -> int:
    """How many entries the journal holds."""
    reader = _place(data).reader(SystemDisk())
    try:
        return reader.end()
    finally:
        reader.close()


class Count(msgspec.Struct, frozen=True):
    """Transfers of one run in a stretch of the journal."""

    created: int
    refused: int
    doubled: int
    """Created more than once under one id."""


def count(data: Path | Place, seq: int, run: int) -> Count:
    """Count the transfers whose ids have `run` as their upper half, from `seq` on; every block is verified."""
    reader = _place(data).reader(SystemDisk())
    created, refused = [np.zeros(0, np.uint64)], 0
    try:
        for block in reader.read(seq):
            rows = block.entries.view(TRANSFER_WORK)
            rows = rows[(rows["kind"] == Kind.TRANSFER) & (rows["seq"] >= seq) & (rows["id_hi"] == run)]
            good = rows["status"] == CREATED_STORED
            created.append(rows["id_lo"][good])
            refused += len(rows) - int(good.sum())
    finally:
        reader.close()
    ids = np.concatenate(created)
    return Count(len(ids), refused, len(ids) - len(np.unique(ids)))


def fold(transfers: npt.NDArray[np.void]) -> Balances:
    """What each account was debited and credited with, by the entries alone. Raises `Corrupt` if it cannot tell."""
    balances: Balances = {}
    columns = ("debit_account_id", "credit_account_id", "moved")
    moved = transfers[transfers["status"] == CREATED_STORED]
    if moved["flag_bits_effective"].any():
        raise Corrupt("the journal holds transfers that are not plain ones; this check cannot fold them")
    if (transfers["moved_lo"][transfers["status"] != CREATED_STORED]).any():
        raise Corrupt("a refused transfer moved money")
    for debit, credit, amount in zip(*(_numbers(moved, name) for name in columns), strict=True):
        balances.setdefault(debit, [0, 0])[0] += amount
        balances.setdefault(credit, [0, 0])[1] += amount
    return balances


def fold_phases(transfers: npt.NDArray[np.void]) -> Balances:
    """By account: debits and credits posted, debits and credits pending, by the entries alone.

    Plain, pending, post and void; no entry may be left out before them. Raises `Corrupt` if it cannot tell.
    """
    balances: Balances = {}
    pending: dict[int, tuple[int, int, int]] = {}
    if (transfers["moved_lo"][transfers["status"] != CREATED_STORED]).any():
        raise Corrupt("a refused transfer moved money")
    done = transfers[transfers["status"] == CREATED_STORED]
    columns = ("id", "debit_account_id", "credit_account_id", "moved", "pending_id")
    for flags, number, debit, credit, amount, pending_id in zip(
        done["flag_bits_effective"].tolist(), *(_numbers(done, name) for name in columns), strict=True
    ):
        if flags in (TransferFlag.POST_PENDING_TRANSFER, TransferFlag.VOID_PENDING_TRANSFER):
            if pending_id not in pending:
                raise Corrupt(f"transfer {number:032x} resolves one that is not pending")
            debit, credit, reserved = pending.pop(pending_id)
            if amount > reserved:
                raise Corrupt(f"transfer {number:032x} gives back or posts more than was reserved")
            _move(balances, debit, credit, 2, -reserved)
            _move(balances, debit, credit, 0, amount if flags == TransferFlag.POST_PENDING_TRANSFER else 0)
        elif flags == TransferFlag.PENDING:
            pending[number] = debit, credit, amount
            _move(balances, debit, credit, 2, amount)
        elif flags == 0:
            _move(balances, debit, credit, 0, amount)
        else:
            raise Corrupt(
                "the journal holds transfers that are neither plain nor two-phase; this check cannot fold them"
            )
    return balances


def _move(balances: Balances, debit: int, credit: int, at: int, amount: int) -> None:
    balances.setdefault(debit, [0, 0, 0, 0])[at] += amount
    balances.setdefault(credit, [0, 0, 0, 0])[at + 1] += amount


def _numbers(rows: npt.NDArray[np.void], name: str) -> list[int]:
    """A 128-bit column as Python integers."""
    lows, highs = rows[f"{name}_lo"].tolist(), rows[f"{name}_hi"].tolist()
    return [high << 64 | low for low, high in zip(lows, highs, strict=True)]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing a run's answers with the journal showed."""

    acknowledged: int
    """Requests that some answer called durable or decided."""
    lost: int
    """Acknowledged, but without entry; or answered, but with another status or timestamp than the entry's."""
    doubled: int
    """Entries of a request beyond its first, and transfers created more than once under one id."""
    unknown: int
    """Requests without a final answer when the run ended."""
    altered: int
    """Entries whose accounts, amount or flags are not what was asked."""
    by_status: dict[str, int]
    """Of the run's entries."""
    sums_match: bool
    """Whether the answers, counted by status, are the entries counted by status."""


def compare(plan: Payments, answers: npt.NDArray[np.void], transfers: npt.NDArray[np.void], tenant: int) -> Verdict:
    """Hold a run's answers (`lab.load.ANSWER` rows) against the journal's transfers."""
    mine = transfers[(transfers["request_id_hi"] == plan.run) & (transfers["tenant"] == tenant)]
    indexes = (mine["request_id_lo"] & np.uint64((1 << 48) - 1)).astype(np.int64) - 1
    counts = np.bincount(indexes, minlength=plan.payments)
    created = mine[mine["status"] == CREATED_STORED]
    twice = len(created) - len(np.unique(created[["id_lo", "id_hi"]]))
    first: dict[int, int] = {}
    for at, index in enumerate(indexes.tolist()):
        first.setdefault(index, at)
    names = {statuses.stored(status): statuses.name(status) for status in TransferStatus}
    told = answers["status"].astype(str).tolist()
    entry_statuses, entry_times = mine["status"].tolist(), mine["timestamp"].tolist()
    times, answered = answers["timestamp"].tolist(), (answers["answered_ns"] != 0).tolist()
    asked = _Asked(mine)
    lost = altered = 0
    for index, acknowledged in enumerate(answers["acknowledged"].tolist()):
        place = first.get(index)
        if place is None:
            lost += acknowledged
            continue
        altered += asked.differs(place, plan, index)
        if answered[index]:
            lost += told[index] != names[entry_statuses[place]] or times[index] != entry_times[place]
    by_status = Counter(names[status] for status in entry_statuses)
    answers_by_status = Counter(status for status, known in zip(told, answered, strict=True) if known)
    return Verdict(
        acknowledged=int(answers["acknowledged"].sum()),
        lost=int(lost),
        doubled=int((counts - 1).clip(0).sum()) + twice,
        unknown=answered.count(False),
        altered=altered,
        by_status=dict(sorted(by_status.items())),
        sums_match=by_status == answers_by_status,
    )


class _Asked:
    """What the entries say was asked."""

    def __init__(self, rows: npt.NDArray[np.void]) -> None:
        names = ("id", "debit_account_id", "credit_account_id", "amount", "pending_id")
        self._columns = [*(_numbers(rows, name) for name in names), rows["flag_bits"].tolist()]

    def differs(self, at: int, plan: Payments, index: int) -> bool:
        """Whether the entry at `at` is not the plan's payment `index`."""
        payment = plan.payment(index)
        accounts = payment.debit_account_id, payment.credit_account_id
        expected = (payment.id, *accounts, payment.amount, payment.pending_id, payment.flags)
        return tuple(column[at] for column in self._columns) != expected
